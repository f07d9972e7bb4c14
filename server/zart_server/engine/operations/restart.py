"""Restart: ends current runs and creates the next from scratch."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from zart_server.domain.commands import Caller, Restart, Restarted
from zart_server.domain.doubt import Doubt
from zart_server.domain.errors import ZartError
from zart_server.domain.model import RunTrigger
from zart_server.domain.operations import OperationKind
from zart_server.domain.plans import OF_RUN, decided
from zart_server.engine.operations.begin_runs import (
    NewRun,
    Roots,
    announce_queued,
    are_few,
    begin_runs,
)
from zart_server.engine.operations.doubts import bound_doubts, find_doubts, refuse_in_doubt
from zart_server.engine.operations.plans import judge_plan, moved
from zart_server.engine.operations.supersede import (
    CurrentRun,
    Following,
    Meant,
    Superseded,
    begun_together,
    lock_current,
    refused,
    supersede,
)
from zart_server.store.connection import Tx
from zart_server.store.definitions import find_definitions


async def restart(
    tx: Tx,
    wanted: Sequence[tuple[Restart, Caller]],
    *,
    wait: bool,
    most_steps: int = sys.maxsize,
) -> list[Restarted | ZartError | None]:
    """Create next runs with the same or a new payload and the tasks' current definitions.

    Unfinished runs are cancelled and their leases are fenced. Inline graphs are kept. An error is
    ExecutionNotFound, RunChanged, PlanChanged, RunActive or StepInDoubt; None, without ``wait``:
    another transaction has locked the execution, or the next runs would have more than
    ``most_steps`` together. No two may name the same execution.
    """
    meant = [Meant.of(item, OF_RUN) for item, _ in wanted]
    found: list[Restarted | ZartError | None] = []
    locked = await lock_current(tx, meant, wait=wait)
    keys = {_definition_key(current) for current in locked if isinstance(current, CurrentRun)}
    definitions = await find_definitions(tx, keys)
    locked = begun_together(locked, lambda each: definitions[_definition_key(each)], most_steps)
    doubts = await find_doubts(tx, locked)
    doable: list[tuple[int, str]] = []
    following: list[Following] = []
    for index, (current, (command, caller)) in enumerate(zip(locked, wanted, strict=True)):
        if not isinstance(current, CurrentRun):
            found.append(current)
            continue
        next_run = Following(
            current, definitions[_definition_key(current)], command.payload_json, caller
        )
        try:
            token = await _check(tx, next_run, command, doubts.get(current.run.run_key, ()))
        except ZartError as error:
            found.append(error)
            continue
        found.append(None)
        doable.append((index, token))
        following.append(next_run)
    for (index, token), done in zip(doable, await _begin(tx, following), strict=True):
        found[index] = Restarted(done.run, done.fenced, token)
    return found


async def _check(tx: Tx, next_run: Following, command: Restart, doubts: Sequence[Doubt]) -> str:
    """Return the token of a plan. Raises PlanChanged, RunActive or StepInDoubt."""
    current, token = next_run.current, ""
    if command.planning:
        decisions = decided(
            run=current.as_planned,
            definition_version=next_run.definition.version,
            in_doubt=bound_doubts(doubts),
        )
        token = await judge_plan(tx, command.planning, decisions)
    error = refused(current, command.if_running)
    if error is not None:
        raise await moved(tx, command.planning, OF_RUN, "run_status", error)
    refuse_in_doubt(current, doubts, None, command)
    return token


def _definition_key(current: CurrentRun) -> int:
    """Return the task's current definition; an inline graph stays what it is."""
    registered = current.execution.task_definition_key
    if current.definition.version == 0 or registered is None:
        return current.definition.definition_key
    return registered


async def _begin(tx: Tx, following: Sequence[Following]) -> list[Superseded]:
    """Have the next runs begin, those of few steps by the statement that inserts them."""
    kinds = RunTrigger.RESTART, OperationKind.RESTART
    if not are_few([item.definition for item in following]):
        superseded = await supersede(tx, following, *kinds)
        await begin_runs(tx, [_new_run(done.following, done.next.run_key) for done in superseded])
        return superseded
    runs = [_new_run(item, 0) for item in following]
    superseded = await supersede(tx, following, *kinds, Roots(runs))
    announce_queued(tx, runs)
    return superseded


def _new_run(following: Following, run_key: int) -> NewRun:
    return NewRun(following.definition, following.current.execution.execution_id, run_key)
