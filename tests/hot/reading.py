"""Reads of executions, one by one and as many as are watched."""

from __future__ import annotations

from hot.explained import Explained
from hot.scenario import scenario
from hot.states import MANY
from zart_server.domain.commands import ExecutionView
from zart_server.store.reads.compared_runs import _compared_as_text, _Pair, compare_runs
from zart_server.store.reads.dead_steps import read_dead_steps
from zart_server.store.reads.executions import (
    find_executions,
    get_execution,
    get_executions,
    get_step,
)
from zart_server.store.reads.traces import find_traceparents
from zart_server.store.reads.watched import run_digests

SOME = range(MANY - 10, MANY + 10)


@scenario(1)
async def reading_executions(tx: Explained) -> None:
    for number in (1, 5, MANY + 1, MANY + 2):
        view = await get_execution(tx.tx, f"x-{number}", None)
        assert len(view.steps) == 2
        step = await get_step(tx.tx, f"x-{number}", "b", None)
        assert step.step_name == "b"


@scenario(2)
async def comparing_runs(tx: Explained) -> None:
    # Of a run with itself: both sides are there, and each result is one.
    found = await compare_runs(tx.tx, "x-1", 0, 0)
    assert [step.result_equal for step in found.steps] == [True, True]
    assert len((await compare_runs(tx.tx, f"x-{MANY + 1}", 0, 0)).steps) == 2


@scenario(2)
async def comparing_results(tx: Explained) -> None:
    keys = [row[0] for row in await tx.sql.fetch("SELECT min(run_key) FROM zart.runs")]
    pairs = [_Pair(key, number, key, 1 - number) for key in keys for number in (0, 1)]
    assert len(await _compared_as_text(tx.tx, pairs)) == 2


@scenario(len(SOME))
async def reading_what_is_watched(tx: Explained) -> None:
    names = [f"x-{number}" for number in SOME]
    views = await get_executions(tx.tx, [(name, None) for name in names], range(len(SOME)))
    keys = [view.run_key for view in views if isinstance(view, ExecutionView)]
    assert len(await run_digests(tx.tx, keys)) == len(SOME)
    assert len(await find_executions(tx.tx, names)) == len(SOME)
    assert await find_traceparents(tx.tx, names) == {}


@scenario(100)
async def reading_dead_steps(tx: Explained) -> None:
    rows = await tx.sql.fetch(
        "SELECT run_key FROM zart.runs ORDER BY run_key LIMIT 100 OFFSET $1", MANY // 2
    )
    found = await read_dead_steps(tx.tx, [row["run_key"] for row in rows])
    assert len(found) == 20
    ((step,),) = set(found.values())
    assert step.step_name == "b"
    assert step.error is not None
    assert (step.error.type, step.error.message, step.error.details) == ("Broken", "no", "")
    # Not those that are completed. 0: nobody judges.
    assert sum(plan.looked_at("steps") for plan in tx.plans) in (0, 20)
