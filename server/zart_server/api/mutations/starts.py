"""Batches starts that come one by one; a start that comes alone takes the fast path."""

from __future__ import annotations

from collections.abc import Sequence

from zart.v1 import execution_service_pb2 as pb
from zart_server.api import encode
from zart_server.api.mutations.batched import Batched
from zart_server.api.mutations.operate import Request
from zart_server.api.mutations.single import Mutations
from zart_server.domain.commands import Caller, StartExecution, StartResult
from zart_server.domain.model import Execution
from zart_server.engine.dispatch.long_polls import LongPolls
from zart_server.engine.operations.requests import Answered
from zart_server.engine.operations.start import start_executions
from zart_server.engine.operations.start_fast import start_execution
from zart_server.store import reads
from zart_server.store.db import Tx

Starts = Batched[StartExecution, Execution, pb.StartExecutionResponse]


def batched_starts(mutations: Mutations, long_polls: LongPolls) -> Starts:
    """Gather starts of one execution each."""

    async def together(
        tx: Tx,
        wanted: Sequence[tuple[StartExecution, Caller]],
        *,
        wait: bool,  # noqa: ARG001 - it always does
    ) -> list[StartResult]:
        return await start_executions(tx, [command for command, _ in wanted], long_polls)

    async def alone(tx: Tx, wanted: StartExecution, request: Request | None) -> Execution | None:
        def answer(execution: Execution) -> Answered | None:
            if request is None:
                return None
            response = _started(execution)
            response.execution.ClearField("created_at")  # told by ``_complete``
            return Answered(*request, response.SerializeToString())

        return await start_execution(tx, wanted, answer, long_polls)

    return Batched(
        mutations,
        pb.StartExecutionResponse,
        together,
        _started,
        _id_of,
        alone=alone,
        complete=_complete,
    )


async def _complete(tx: Tx, response: pb.StartExecutionResponse) -> None:
    """Fill in what was not known when the answer was stored."""
    execution_id = response.execution.execution_id
    found = await reads.find_executions(tx, [execution_id])
    response.execution.created_at.FromDatetime(found[execution_id].created_at)


def _started(execution: Execution) -> pb.StartExecutionResponse:
    return pb.StartExecutionResponse(execution=encode.execution(execution))


def _id_of(command: StartExecution) -> str:
    return command.execution_id or str(id(command))
