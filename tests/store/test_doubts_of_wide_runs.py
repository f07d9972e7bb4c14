"""What is in doubt of a run of many steps is read once, and of a step without that of the others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from hot.explained import Explained, explained

from zart_server.domain.batches import BatchKind
from zart_server.domain.by_hand import CompleteStep
from zart_server.domain.commands import Caller, Restart, RetriedStep, RetryStep, StartExecution
from zart_server.domain.dispatch import BrokenOff, LeaseTasks, Outcome
from zart_server.domain.graph import WrittenGraph
from zart_server.domain.if_in_doubt import IfInDoubt
from zart_server.domain.model import IfExists, IfRunning, StepSpec
from zart_server.domain.operations import OperationKind
from zart_server.engine.dispatch.lease import lease_tasks
from zart_server.engine.dispatch.low_water import LowWater
from zart_server.engine.dispatch.outcome_batch import find_batch
from zart_server.engine.dispatch.record_in_general import record_in_general
from zart_server.engine.operations.doubts import find_doubts
from zart_server.engine.operations.end_by_hand import end_by_hand
from zart_server.engine.operations.restart import restart
from zart_server.engine.operations.retry_step import retry_steps
from zart_server.engine.operations.start import start_executions
from zart_server.engine.operations.supersede import Meant, lock_current
from zart_server.store.batches.counting import count_items
from zart_server.store.batches.selecting import Found
from zart_server.store.db import Database
from zart_server.store.reads.known_steps import read_known_steps

STEPS = 150
CALLER = Caller(triggered_by="tester")
RESTART = Restart("x", None, IfRunning.SUPERSEDE, None, accept_in_doubt=True)


async def _broken_off(tx: Explained) -> None:
    wanted = LeaseTasks("d", ("t",), (), STEPS, timedelta(0), timedelta(seconds=30))
    tasks = await lease_tasks(tx.tx, wanted, LowWater())
    assert len(tasks) == STEPS
    outcomes = [Outcome(t.task_id, t.lease_token, BrokenOff("d"), "") for t in tasks]
    await record_in_general(tx.tx, await find_batch(tx.tx, outcomes), wait=True)


@pytest.fixture
async def wide(store: Database) -> AsyncIterator[Explained]:
    """A run of many steps, all in doubt, as they were in the run before, where they have happened."""
    steps = [StepSpec(f"s{n}", (), "h", if_in_doubt=IfInDoubt.STOP) for n in range(STEPS)]
    graph = WrittenGraph.of(steps)
    async with explained(store) as tx:
        tx.raw.is_judged = False
        start = StartExecution("x", "t", None, graph, IfExists.FAIL, CALLER)
        await start_executions(tx.tx, [start])
        await _broken_off(tx)
        await restart(tx.tx, [(RESTART, CALLER)], wait=True)
        await _broken_off(tx)
        await tx.sql.execute(
            "UPDATE zart.in_doubt SET finding = 'happened', resolved_at = clock_timestamp(),"
            " resolved_by = 0 WHERE run_number = 0"
        )
        tx.raw.is_judged = True
        yield tx


def _looked_at(tx: Explained, table: str) -> int:
    return sum(plan.looked_at(table) for plan in tx.plans)


@pytest.mark.parametrize("kind", [BatchKind.RETRY_STEP, BatchKind.RESTART])
async def test_a_plan_of_a_batch_reads_what_belongs_to_a_run_once(
    wide: Explained, kind: BatchKind
) -> None:
    run_key = await wide.sql.fetchval("SELECT run_key FROM zart.runs WHERE is_current")
    now = await wide.sql.fetchval("SELECT clock_timestamp()")

    [counted] = await count_items(wide.tx, kind, Found.of_runs([run_key]), now)

    assert counted.items == (STEPS if kind.is_of_steps else 1)
    assert (counted.state.is_doubted, counted.state.has_happened) == (True, True)
    assert _looked_at(wide, "in_doubt") <= 2 * STEPS
    assert _looked_at(wide, "steps") <= 3 * STEPS
    assert _looked_at(wide, "definitions") <= 2 * STEPS  # the names of items, by their numbers
    assert max(plan.most_at_a_node[0] for plan in wide.plans) <= 2 * STEPS


async def test_names_of_what_happened_are_not_looked_up_one_by_one(wide: Explained) -> None:
    current = await lock_current(wide.tx, [Meant("x", None)], wait=True)
    wide.plans.clear()

    [found] = (await find_doubts(wide.tx, current)).values()

    assert len(found) == 2 * STEPS
    assert _looked_at(wide, "in_doubt") <= 2 * STEPS
    assert _looked_at(wide, "definitions") <= 1


async def test_who_explains_a_step_reads_of_that_step(wide: Explained) -> None:
    known = await read_known_steps(wide.tx, "x", "s7", None)

    assert known.run.happened == {"s7"}
    assert _looked_at(wide, "in_doubt") == 2
    assert _looked_at(wide, "definitions") <= 1


async def test_so_does_who_retries_it(wide: Explained) -> None:
    command = RetryStep("x", "s7", None, None, None, accept_in_doubt=True)
    [done] = await retry_steps(wide.tx, [(command, CALLER)], wait=True)

    assert isinstance(done, RetriedStep)
    # As it is found and locked, and as it is resolved.
    assert _looked_at(wide, "in_doubt") <= 4


async def test_or_completes_it(wide: Explained) -> None:
    command = CompleteStep("x", "s7", "1")
    await end_by_hand(wide.tx, [(command, CALLER)], OperationKind.COMPLETE_STEP, wait=True)

    assert _looked_at(wide, "in_doubt") <= 4
