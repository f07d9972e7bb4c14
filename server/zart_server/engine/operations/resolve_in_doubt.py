"""ResolveInDoubt: records what was found out about an attempt that was in doubt."""

from __future__ import annotations

from zart_server.domain.commands import Caller
from zart_server.domain.doubt import InDoubtAttempt, ResolveInDoubt
from zart_server.domain.errors import (
    AttemptNotFound,
    ExecutionNotFound,
    NotInDoubt,
    RunNotFound,
    StepNotFound,
)
from zart_server.domain.model import run_id_of
from zart_server.domain.operations import Made
from zart_server.store.connection import Tx
from zart_server.store.definitions import find_definitions
from zart_server.store.doubt.resolving import how_it_stands, resolve, run_in_doubt
from zart_server.store.operations import NewOperation


async def resolve_in_doubt(tx: Tx, command: ResolveInDoubt, caller: Caller) -> InDoubtAttempt:
    """Resolve a doubt; nothing else changes, and the run may be a past one.

    Raises ExecutionNotFound, RunNotFound, StepNotFound, AttemptNotFound or NotInDoubt.
    """
    run = await run_in_doubt(tx, command.execution_id, command.run_number)
    if run is None:
        raise ExecutionNotFound(command.execution_id)
    if run["run_key"] is None:
        raise RunNotFound(command.execution_id, command.run_number)
    run_id, key = run_id_of(command.execution_id, command.run_number), run["definition_key"]
    step_no = (await find_definitions(tx, [key]))[key].graph.index.get(command.step_name)
    if step_no is None:
        raise StepNotFound(run_id, command.step_name)
    operation = NewOperation(
        caller,
        execution_id=command.execution_id,
        run_number=command.run_number,
        step_name=command.step_name,
        task_name=run["task_name"],
        made=Made(finding=command.finding.value),
    )
    done = await resolve(tx, run["run_key"], step_no, command, operation)
    if done is not None:
        return done
    stands = await how_it_stands(tx, run["run_key"], step_no, command.attempt)
    if stands is None:
        raise AttemptNotFound(run_id, command.step_name, command.attempt)
    raise NotInDoubt(run_id, command.step_name, command.attempt, *stands)
