"""Errors about batches: the one meant is not there or over, or would be of nothing."""

from __future__ import annotations

from zart.errors.base import NotFound, Refused


class BatchNotFound(NotFound):
    """No batch has this id."""

    reason = "BATCH_NOT_FOUND"


class BatchFinished(Refused):
    """The batch is over."""

    reason = "BATCH_FINISHED"


class NothingSelected(Refused):
    """What a batch is to be of is nothing."""

    reason = "NOTHING_SELECTED"
