"""What filters, error groups and counts cost beside a million executions, a fifth of them dead.

In each state of PostgreSQL's statistics that a system can be in: autovacuum is off, so that each
lasts until it has been measured.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import asyncpg
from google.protobuf.message import Message

import zart
from bench.calls import calling
from bench.history import checked, multiplied
from bench.product import ROOT, Product, product, registered
from bench.run import Run, told
from bench.series import Series, p50_p99
from bench.target import Target, at_least, at_most
from zart import ExecutionFilter
from zart.models import StepError
from zart.v1 import execution_service_pb2 as pb

TITLE = "filters, error groups and counts beside a million executions of which 200,000 are dead"
COLUMNS = {
    "p50_ms": "p50, ms",
    "p99_ms": "p99, ms",
    "max_ms": "most, ms",
    "first_s": "first page after, s",
    "rows_per_second": "rows/s after that",
}
LIST = "zart list"
PAGES, GROUPS, COUNTS = "pages", "error groups", "counts"
_BOUNDS = {PAGES: 50.0, GROUPS: 100.0, COUNTS: 200.0}  # milliseconds
_STATISTICS = "DELETE FROM pg_statistic WHERE starelid::regclass::text LIKE 'zart.%'"
# Where the tables were empty when they were vacuumed, and nobody came since.
_OF_NOTHING = (
    _STATISTICS,
    """UPDATE pg_class SET reltuples = 0, relpages = 0
       WHERE relkind = 'r' AND relnamespace = 'zart'::regnamespace""",
)
STATES: Mapping[str, Sequence[str]] = {
    "never analyzed": (),
    "ANALYZE": ("ANALYZE",),
    "VACUUM ANALYZE": ("VACUUM ANALYZE",),
    "vacuumed to nothing": _OF_NOTHING,
}
_DEAD = [zart.StepStatus.DEAD]

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


async def measure(run: Run, series: Series) -> dict[str, object]:
    """Load a system, and ask in each state of its statistics."""
    kinds, of_each = run.size(40, 4), run.size(5_000, 10)
    finished, times = run.size(800_000, 50), run.size(50, 1)
    with product("autovacuum=off") as made:
        made.serve()
        async with made.client() as client, made.db() as db:
            await registered(client)
            await _loaded(made, client, kinds, of_each, finished)
            group_id = await anext(g.error_group_id async for g in client.list_error_groups())
            for state, statements in STATES.items():
                for statement in statements:
                    await db.execute(statement)
                await _asked(made.address, series, state, group_id, times)
        rows = run.size(15_000, 40)
        for _ in run.times(3):
            told(series, LIST, **await _listed(made.address, rows))
    return {
        "dead": kinds * of_each,
        "kinds of errors": kinds,
        "finished": finished,
        "rows of a list": rows,
        "times": times,
    }


def targets(series: Series) -> list[Target]:
    """Issue 14, lines 3 and 4, and the counts of OPERATING-CASES."""
    found = [
        at_most(
            bound, f"p99 of {what}, the worst of a kind, {state}", _worst(series, what, state), "ms"
        )
        for state in STATES
        for what, bound in _BOUNDS.items()
    ]
    listed = series.numbers[LIST]
    return [
        *found,
        at_most(0.5, "first page of zart list", listed["first_s"], "s"),
        at_least(5_000, "rows/s of zart list", listed["rows_per_second"], "/s"),
    ]


def _worst(series: Series, what: str, state: str) -> list[float]:
    """Return the largest p99 of each round."""
    kinds = [
        figures["p99_ms"]
        for name, figures in series.numbers.items()
        if name.startswith(what) and name.endswith(f", {state}")
    ]
    return [max(of_a_round) for of_a_round in zip(*kinds, strict=True)]


async def _loaded(
    made: Product, client: zart.Client, kinds: int, of_each: int, finished: int
) -> None:
    """Make an execution of each kind through the API, and copy it."""
    await _ran(client, "done", "")
    for n in range(kinds):
        await _ran(client, f"dead{n}", f"Kind{n}")
    await multiplied(made, "done", finished - 1, is_vacuumed=False)
    for n in range(kinds):
        await multiplied(made, f"dead{n}", of_each - 1, is_vacuumed=False)
    await checked(client, "dead0", of_each - 1, "three", zart.StepStatus.DEAD)


async def _ran(client: zart.Client, execution_id: str, error: str) -> None:
    """Run an execution to its end; its last step dies of an error of a kind, if one is given."""
    await client.start("noop3", execution_id=execution_id)
    while leased := await client.lease_tasks("bench", ["noop3"]):
        (task,) = leased
        ending: zart.Completed | zart.Failed = zart.Completed(1)
        if error and task.step_name == "three":
            ending = zart.Failed(StepError(error, f"of {execution_id}", ""), retryable=False)
        outcome = zart.Outcome(task.task_id, task.lease_token, ending)
        await client.report_tasks("bench", [outcome])


def _filters(group_id: str) -> dict[str, ExecutionFilter]:
    """Return a filter for each way to what is found."""
    now = datetime.now(UTC)
    hour, week = now - timedelta(hours=1), now - timedelta(days=6)
    return {
        "dead": ExecutionFilter(step_statuses=_DEAD),
        "failed, of a task": ExecutionFilter(task_name="noop3", statuses=[zart.RunStatus.FAILED]),
        "of a group": ExecutionFilter(error_group_id=group_id),
        "of a group, with a text": ExecutionFilter(
            error_group_id=group_id, error_contains="of dead"
        ),
        "of a group, with a text of none": ExecutionFilter(
            error_group_id=group_id, error_contains="nobody's"
        ),
        "by pattern": ExecutionFilter(step_pattern="th*"),
        "dead in the last hour": ExecutionFilter(dead_after=hour),
        "dead before": ExecutionFilter(dead_before=hour),
        "by prefix, many": ExecutionFilter(execution_id_prefix="d"),
        "by prefix, few": ExecutionFilter(execution_id_prefix="dead0-1"),
        "dead, by prefix": ExecutionFilter(execution_id_prefix="done", step_statuses=_DEAD),
        "by who started it": ExecutionFilter(triggered_by="nobody", created_after=week),
    }


async def _asked(address: str, series: Series, state: str, group_id: str, times: int) -> None:
    """Ask for each kind of page so often, one after the other, and for groups and counts."""
    filters = _filters(group_id)
    asked: dict[str, tuple[str, list[Message]]] = {
        f"{PAGES} {name}": (
            "ListExecutions",
            [pb.ListExecutionsRequest(filter=wanted.to_message(), page_size=50)],
        )
        for name, wanted in filters.items()
    }
    asked[GROUPS] = (
        "ListErrorGroups",
        [
            pb.ListErrorGroupsRequest(filter=wanted.to_message())
            for wanted in (
                ExecutionFilter(),
                ExecutionFilter(task_name="noop3", statuses=[zart.RunStatus.FAILED]),
                filters["dead in the last hour"],
            )
        ],
    )
    asked[COUNTS] = (
        "CountExecutions",
        [pb.CountExecutionsRequest(filter=wanted.to_message()) for wanted in filters.values()],
    )
    async with calling(address) as caller:
        for name, (method, requests) in asked.items():
            timed = await caller.timed("ExecutionService", method, requests * times)
            took = timed.milliseconds
            told(series, f"{name}, {state}", **p50_p99(took), max_ms=max(took))


async def _listed(address: str, rows: int) -> dict[str, float]:
    """Have the command list so many, and note when the first page came, and how fast the rest."""
    begun = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "zart.cli", "list", "--limit", str(rows), "--task-name", "noop3",
        stdout=asyncio.subprocess.PIPE, cwd=ROOT, env={**os.environ, "ZART_ADDRESS": address},
    )  # fmt: skip
    seen, first = 0, 0.0
    async for _ in _lines(process):
        seen += 1
        if seen == 2:  # the first row, after the titles
            first = time.perf_counter() - begun
    took = time.perf_counter() - begun
    if await process.wait() or seen <= rows:
        raise RuntimeError(f"zart list printed {seen} lines and ended {process.returncode}")
    return {"first_s": first, "rows_per_second": rows / max(took - first, 1e-9)}


async def _lines(process: asyncio.subprocess.Process) -> AsyncIterator[bytes]:
    if process.stdout is None:
        raise RuntimeError("it has no output")
    async for line in process.stdout:
        yield line
