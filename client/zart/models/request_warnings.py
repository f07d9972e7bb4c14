"""What an answer warns of."""

from __future__ import annotations

from dataclasses import dataclass

from zart.models.statuses import WarningKind


@dataclass(frozen=True, slots=True)
class RequestWarning:
    """Something was done as it was asked, but may not be meant so."""

    kind: WarningKind
    message: str
    field: str
