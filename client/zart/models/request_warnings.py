"""What an answer warns of."""

from __future__ import annotations

from dataclasses import dataclass

from zart.models.statuses import WarningKind


@dataclass(frozen=True, slots=True)
class RequestWarning:
    """Something was done as it was asked, but may not be meant so.

    ``nearest`` are names that there are, like the one in the field; ``rule_id`` is the pause rule
    that it is about.
    """

    kind: WarningKind
    message: str
    field: str
    nearest: tuple[str, ...] = ()
    rule_id: str = ""
