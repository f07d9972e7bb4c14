"""FailStep: fails steps for good by hand."""

from __future__ import annotations

from collections.abc import Sequence

from zart_server.domain.by_hand import EndedStep, FailStep
from zart_server.domain.commands import Caller
from zart_server.domain.errors import ZartError
from zart_server.domain.operations import OperationKind
from zart_server.engine.operations.end_by_hand import end_by_hand
from zart_server.store.connection import Tx


async def fail_steps(
    tx: Tx, wanted: Sequence[tuple[FailStep, Caller]], *, wait: bool
) -> list[EndedStep | ZartError | None]:
    """Make steps DEAD that have not ended yet; those in flight only with ``fence``.

    Locks and errors are those of ``end_by_hand``.
    """
    return await end_by_hand(tx, wanted, OperationKind.FAIL_STEP, wait=wait)
