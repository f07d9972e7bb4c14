"""Does the operation of a batch to items, as the mutations do it to what callers name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from zart_server.domain.batches import Batch, BatchKind
from zart_server.domain.by_hand import CompleteStep, FailStep
from zart_server.domain.commands import Caller, CancelExecution, Rerun, Restart, RetryStep
from zart_server.domain.errors import ZartError
from zart_server.engine.operations.cancel import cancel_executions
from zart_server.engine.operations.complete_step import complete_steps
from zart_server.engine.operations.fail_step import fail_steps
from zart_server.engine.operations.rerun import rerun
from zart_server.engine.operations.restart import restart
from zart_server.engine.operations.retry_step import retry_steps
from zart_server.store.batches.items import PendingItem
from zart_server.store.connection import Tx


class _Operate(Protocol):
    """An operation on many commands, no two of the same execution."""

    def __call__(
        self, tx: Tx, wanted: Sequence[tuple[Any, Caller]], *, wait: bool
    ) -> Awaitable[Sequence[object | ZartError | None]]:
        """Do it."""


_Command: TypeAlias = Callable[[Batch, PendingItem], object]


def _retry_step(batch: Batch, item: PendingItem) -> RetryStep:
    return RetryStep(
        execution_id=item.execution_id,
        step_name=item.step_name,
        run_number=None,
        max_attempts=batch.operation.max_attempts,
        expected_run_number=item.run_number,
        accept_in_doubt=batch.operation.accept_in_doubt,
        input_json=batch.operation.input_json,
        expected_attempt=item.attempt,
        execution_key=item.execution_key,
        accepted_at=batch.as_of,
    )


def _restart(batch: Batch, item: PendingItem) -> Restart:
    return Restart(
        execution_id=item.execution_id,
        payload_json=batch.operation.payload_json,
        if_running=batch.operation.if_running,
        expected_run_number=item.run_number,
        accept_in_doubt=batch.operation.accept_in_doubt,
        execution_key=item.execution_key,
        accepted_at=batch.as_of,
    )


def _rerun(batch: Batch, item: PendingItem) -> Rerun:
    return Rerun(
        execution_id=item.execution_id,
        force_rerun=batch.operation.force_rerun,
        preserve=batch.operation.preserve,
        include_downstream=batch.operation.include_downstream,
        if_running=batch.operation.if_running,
        expected_run_number=item.run_number,
        accept_in_doubt=batch.operation.accept_in_doubt,
        execution_key=item.execution_key,
        accepted_at=batch.as_of,
    )


def _cancel(_batch: Batch, item: PendingItem) -> CancelExecution:
    return CancelExecution(item.execution_id, item.run_number, execution_key=item.execution_key)


def _complete_step(batch: Batch, item: PendingItem) -> CompleteStep:
    return CompleteStep(
        execution_id=item.execution_id,
        step_name=item.step_name,
        result_json=batch.operation.result_json,
        is_skip=batch.operation.is_skip,
        fence=batch.operation.fence,
        expected_attempt=item.attempt,
        execution_key=item.execution_key,
        expected_run_number=item.run_number,
    )


def _fail_step(batch: Batch, item: PendingItem) -> FailStep:
    return FailStep(
        execution_id=item.execution_id,
        step_name=item.step_name,
        message=batch.operation.message,
        fence=batch.operation.fence,
        expected_attempt=item.attempt,
        execution_key=item.execution_key,
        expected_run_number=item.run_number,
    )


_DOES: Mapping[BatchKind, tuple[_Operate, _Command]] = {
    BatchKind.RETRY_STEP: (retry_steps, _retry_step),
    BatchKind.RESTART: (restart, _restart),
    BatchKind.RERUN: (rerun, _rerun),
    BatchKind.CANCEL_EXECUTION: (cancel_executions, _cancel),
    BatchKind.COMPLETE_STEP: (complete_steps, _complete_step),
    BatchKind.FAIL_STEP: (fail_steps, _fail_step),
}


async def do_items(
    tx: Tx, batch: Batch, items: Sequence[PendingItem], *, wait: bool
) -> list[tuple[PendingItem, ZartError | None]]:
    """Do a batch's operation; return each item with the error by which it was refused, if it was.

    No two may be of the same execution. An item is left out, without ``wait``, of which another
    transaction has locked the execution. One whose execution is gone is refused, also where
    another one has its id by now.
    """
    operate, command = _DOES[batch.operation.kind]
    wanted = [(command(batch, item), batch.caller) for item in items]
    done = await operate(tx, wanted, wait=wait)
    return [
        (item, result if isinstance(result, ZartError) else None)
        for item, result in zip(items, done, strict=True)
        if result is not None
    ]


def one_of_each_execution(
    items: Sequence[PendingItem],
) -> tuple[list[PendingItem], list[PendingItem]]:
    """Return the first item of each execution, and the others.

    These are for other transactions: one that has decided whether steps are queued holds the pause
    lock, and locks no execution, run or step after that.
    """
    first: dict[str, PendingItem] = {}
    others = [item for item in items if first.setdefault(item.execution_id, item) is not item]
    return list(first.values()), others
