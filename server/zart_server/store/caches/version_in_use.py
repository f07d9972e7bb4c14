"""Keeps at hand by which version of the fingerprint deaths are told."""

from __future__ import annotations

from zart_server.domain.fingerprint import NEWEST, OLDEST


class VersionInUse:
    """The version that the database says, as it was read last, or the newest that is known here.

    One that is behind by some seconds harms nobody: what is told by it is regrouped.
    """

    def __init__(self) -> None:
        self.number = OLDEST

    def take(self, number: int) -> None:
        """Go by this version from now on; by the newest where this server does not know it."""
        self.number = min(number, NEWEST)
