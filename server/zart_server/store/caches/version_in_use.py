"""Keeps at hand by which version of the fingerprint deaths are told."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class VersionInUse:
    """The version that the database says, as it was read last.

    One that is behind by some seconds harms nobody: what is told by it is regrouped.
    """

    number: int
