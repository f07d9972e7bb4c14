"""Who completed a step."""

from __future__ import annotations

from enum import StrEnum


class StepResolution(StrEnum):
    """Who completed a step; the words are those of the tables."""

    EXECUTED = "executed"
    COMPLETED_BY_OPERATOR = "completed_by_operator"
    SKIPPED_BY_OPERATOR = "skipped_by_operator"
