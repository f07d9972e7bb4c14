"""What a step's definition says of attempts that may have had their effect."""

from __future__ import annotations

from enum import StrEnum


class IfInDoubt(StrEnum):
    """What becomes of a step when nobody knows whether an attempt of it had its effect."""

    RETRY = "retry"
    STOP = "stop"
