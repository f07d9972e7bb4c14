"""Errors about batches: the one meant is not there or over, or would be of nothing."""

from __future__ import annotations

from zart_server.domain.errors.base import NotFound, ZartError


class BatchNotFound(NotFound):
    """No batch has this id."""

    reason = "BATCH_NOT_FOUND"

    def __init__(self, batch_id: str) -> None:
        super().__init__(f"no batch {batch_id!r}", batch_id=batch_id)


class BatchFinished(ZartError):
    """The batch is over."""

    reason = "BATCH_FINISHED"

    def __init__(self, batch_id: str, status: str) -> None:
        super().__init__(
            f"batch {batch_id!r} is {status.upper()}", batch_id=batch_id, status=status.upper()
        )


class NothingSelected(ZartError):
    """What a batch is to be of is nothing."""

    reason = "NOTHING_SELECTED"

    def __init__(self, selection: str) -> None:
        super().__init__(f"nothing is selected: {selection}", selection=selection)
