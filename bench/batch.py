"""Batches: how fast, how well paced, whoever dies, and what they cost everything else."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TypeAlias

import asyncpg
from google.protobuf.message import Message

import zart
from bench.admin import ran
from bench.at_work import server_at_work
from bench.calls import calling
from bench.drain import CONCURRENCY, draining
from bench.history import multiplied
from bench.paced import WINDOW, off_pace
from bench.product import Product, finished, product, registered, started
from bench.run import Run, told
from bench.series import Series
from bench.target import Target, at_least, at_most
from zart.errors import BatchFinished
from zart.models import Batch, BatchStatus
from zart.models.batch_operations import BatchOperation
from zart.v1 import admin_service_pb2 as admin
from zart.v1 import execution_service_pb2 as execution

TITLE = "a batch of 100,000 against 16 single callers, paced, beside a drain, and killed ten times"
COLUMNS = {
    "items_per_second": "items/s",
    "single_per_second": "16 single callers, /s",
    "off_percent": "off the pace over any 10 s, %",
    "deaths": "servers killed",
    "wrong_totals": "looks at which totals did not add up",
    "not_once": "items not done once, or not on record",
    "beside": "drain beside it, ×",
    "frozen_s": "frozen after, s",
    "cancelled_s": "cancelled after, s",
}
PACED, KILLED, BESIDE, FREEZING = "paced", "killed", "beside a drain", "freezing"
_CALLERS = 16
_RATE = 500.0
_LOOK = 0.2  # seconds
_FEW = 1_000  # copies: to vacuum takes longer than what is measured on them

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@dataclass(frozen=True)
class _Kind:
    """An operation: on copies of which execution, in a batch, and by itself."""

    template: str
    operation: BatchOperation
    service: str
    request: Callable[[str], Message]


KINDS = {
    "RetryStep": _Kind(
        "dead",
        zart.RetryStep(),
        "AdminService",
        lambda id_: admin.RetryStepRequest(execution_id=id_, step_name="three"),
    ),
    "Restart": _Kind(
        "done", zart.Restart(), "AdminService", lambda id_: admin.RestartRequest(execution_id=id_)
    ),
    "Rerun": _Kind(
        "done-too",
        zart.Rerun(["three"]),
        "AdminService",
        lambda id_: admin.RerunRequest(execution_id=id_, force_rerun=["three"]),
    ),
    "CancelExecution": _Kind(
        "queued",
        zart.CancelExecution(),
        "ExecutionService",
        lambda id_: execution.CancelExecutionRequest(execution_id=id_),
    ),
    "CompleteStep": _Kind(
        "dead-too",
        zart.CompleteStep(1),
        "AdminService",
        lambda id_: admin.CompleteStepRequest(execution_id=id_, step_name="three", result_json="1"),
    ),
}


async def measure(run: Run, series: Series) -> dict[str, object]:
    """Measure each operation, then the pace, deaths, a drain beside one, and a large one."""
    items, singles = run.size(100_000, 200), run.size(5_000, 50)
    # Each on a database of its own: what a batch has revived would be worked through one by one.
    for name, kind in run.some(KINDS.items(), 2):
        async with _two_servers() as (made, client):
            told(series, name, **await _against_singles(made, client, kind, items, singles))
    async with _two_servers() as (made, client), made.db() as db:
        told(series, PACED, **await _paced(made, client, db, int(run.size(60, 1) * _RATE)))
    async with _two_servers() as (made, client), made.db() as db:
        deaths = run.size(10, 1)
        told(series, KILLED, **await _killed(made, client, db, items, deaths))
    with product() as made:
        made.serve()
        async with made.client() as client:
            await registered(client)
            count, executions = run.size(100_000, 300), run.size(20_000, 300)
            for _ in run.times(3):
                told(series, BESIDE, beside=await _beside(made, client, count, executions))
    async with _two_servers() as (made, client):
        many = run.size(1_000_000, 300)  # as many as a batch may have, and nothing else
        told(series, FREEZING, **await _frozen(made, client, many - 1))
    return {"items": items, "single calls": singles, "frozen": many, "window, s": WINDOW}


@contextlib.asynccontextmanager
async def _two_servers() -> AsyncIterator[tuple[Product, zart.Client]]:
    with product() as made:
        made.serve()
        made.serve()
        async with made.client() as client:
            await registered(client)
            yield made, client


def targets(series: Series) -> list[Target]:
    """Issue 14, line 2."""
    killed = series.numbers[KILLED]
    return [
        *(
            at_least(
                3,
                f"{name}: a batch against {_CALLERS} callers",
                series.ratio((name, "items_per_second"), (name, "single_per_second")),
            )
            for name in filter(series.numbers.get, KINDS)
        ),
        at_most(5, f"off {_RATE:g}/s over any 10 s", series.numbers[PACED]["off_percent"], "%"),
        at_most(0, "wrong totals, as servers died", killed["wrong_totals"], ""),
        at_most(0, "items not done once, as servers died", killed["not_once"], ""),
        at_least(0.8, "drain beside a batch", series.numbers[BESIDE]["beside"]),
        at_most(30, "a million items frozen", series.numbers[FREEZING]["frozen_s"], "s"),
    ]


async def _prepared(made: Product, client: zart.Client, template: str, count: int) -> list[str]:
    """Make an execution and so many copies, and return the ids of these."""
    if template.startswith("queued"):
        await client.start("single", execution_id=template)
    else:
        await ran(client, template, 1, dead=template.startswith("dead"))
    await multiplied(made, template, count, is_vacuumed=count > _FEW)
    return [f"{template}-{n}" for n in range(1, count + 1)]


async def _against_singles(
    made: Product, client: zart.Client, kind: _Kind, items: int, singles: int
) -> dict[str, float]:
    """Do it to some by single calls, and to the others by a batch."""
    ids = await _prepared(made, client, kind.template, items + singles)
    async with calling(made.address) as caller:
        requests = [kind.request(id_) for id_ in ids[items:]]
        method = type(requests[0]).__name__.removesuffix("Request")
        timed = await caller.timed(kind.service, method, requests, callers=_CALLERS)
    begun = time.perf_counter()
    if kind.template == "dead-too":  # steps by hand are chosen by their conditions
        dead = zart.ExecutionFilter(step_statuses=[zart.StepStatus.DEAD], step_pattern="three")
        created = await client.create_batch(kind.operation, filter=dead)
    else:
        created = await client.create_batch(kind.operation, execution_ids=ids[:items])
    batch = await _ended(client, created.batch)
    took = time.perf_counter() - begun
    if batch.counts.done < items:
        raise RuntimeError(f"{method}: {batch.counts} of {items} items")
    return {
        "items_per_second": batch.counts.done / took,
        "single_per_second": timed.per_second,
    }


async def _ended(client: zart.Client, batch: Batch | None) -> Batch:
    """Wait until a batch is over."""
    assert batch is not None
    async for told_ in client.watch_batch(batch.batch_id):
        batch = told_
    return batch


async def _paced(
    made: Product, client: zart.Client, db: Connection, count: int
) -> dict[str, float]:
    """Retry so many at a pace."""
    ids = await _prepared(made, client, "dead-paced", count)
    created = await client.create_batch(zart.RetryStep(), execution_ids=ids, rate_per_second=_RATE)
    batch = await _ended(client, created.batch)
    rows = await db.fetch(
        "SELECT EXTRACT(epoch FROM done_at)::float8 AS at FROM zart_batch_items"
        " WHERE batch_id = $1 ORDER BY at",
        batch.batch_id,
    )
    return {"off_percent": off_pace([row["at"] for row in rows], _RATE)}


async def _killed(
    made: Product, client: zart.Client, db: Connection, count: int, deaths: int
) -> dict[str, float]:
    """Kill the server that works on a batch, again and again, and look at its totals meanwhile."""
    ids = await _prepared(made, client, "dead-killed", count)
    batch = (await client.create_batch(zart.RetryStep(), execution_ids=ids)).batch
    assert batch is not None
    wrong = killed = 0
    while True:
        row = await db.fetchrow(_TOTALS, batch.batch_id)
        assert row is not None
        wrong += not row["add_up"]
        if row["is_over"]:
            break
        if killed < deaths and row["passed"] >= count * killed / (deaths + 1):
            victim = await server_at_work(made, db, "zart.batch_items")
            if victim is not None:
                victim.popen.kill()
                victim.popen.wait()
                at = made.servers.index(victim)
                del made.servers[at], made.addresses[at]
                made.serve()
                killed += 1
        await asyncio.sleep(_LOOK)
    not_once = await db.fetchval(_NOT_ONCE, batch.batch_id, count)
    return {"deaths": killed, "wrong_totals": wrong, "not_once": not_once}


# The totals of a batch beside its items, both of one moment.
_TOTALS = """
    SELECT b.done + b.refused AS passed, b.completed_at IS NOT NULL AS is_over,
        (b.selected, b.done, b.refused) = (count(*), count(*) FILTER (WHERE i.status = 'done'),
            count(*) FILTER (WHERE i.status = 'refused')) AS add_up
    FROM zart.batches b JOIN zart.batch_items i USING (batch_key)
    WHERE b.batch_id = $1 GROUP BY b.batch_key
"""
_NOT_ONCE = """
    SELECT abs($2::bigint - (SELECT count(*) FROM zart.operations WHERE batch_id = $1
        AND kind = 'retry_step')) + (SELECT count(*) FROM (
            SELECT FROM zart.operations WHERE batch_id = $1 AND kind = 'retry_step'
            GROUP BY execution_id HAVING count(*) > 1) o)
"""


async def _beside(made: Product, client: zart.Client, count: int, executions: int) -> float:
    """Return how fast a drain is while a batch retries what a rule withholds."""
    rates = []
    for is_beside in (False, True):
        name = "dead-beside" if is_beside else "dead-away"
        made.stop_dispatchers()
        begun = time.monotonic_ns()
        ids = await _prepared(made, client, f"{name}-{begun}", count) if is_beside else []
        rule_id = (await client.pause(step_pattern="three", reason="bench")).rule_id
        await started(client, executions, "ten", begun)
        async with draining(made) as drained:
            batch = None
            if is_beside:
                batch = (await client.create_batch(zart.RetryStep(), execution_ids=ids)).batch
            made.dispatch(CONCURRENCY)
            await _of_task_finished(client, "ten")
        rates.append(drained.figures["steps_per_second"])
        if batch is not None:
            with contextlib.suppress(BatchFinished):
                await client.cancel_batch(batch.batch_id)
        await client.resume(rule_id=rule_id)
        await finished(client)
    return rates[1] / rates[0]


async def _of_task_finished(client: zart.Client, task: str) -> None:
    """Wait until no execution of a task is unfinished."""
    unfinished = [zart.RunStatus.SCHEDULED, zart.RunStatus.RUNNING]
    while True:
        listed = client.list_executions(task_name=task, statuses=unfinished, page_size=1)
        if not [found async for found in listed]:
            return
        await asyncio.sleep(0.2)


async def _frozen(made: Product, client: zart.Client, count: int) -> dict[str, float]:
    """Freeze the selection of a large batch, of which one item is done; cancel it then."""
    await ran(client, "done", 1, dead=False)
    await multiplied(made, "done", count)
    begun = time.perf_counter()
    batch = (await client.create_batch(zart.Restart(), everything=True, canary=1)).batch
    assert batch is not None
    while batch.status is BatchStatus.PREPARING:
        await asyncio.sleep(0.05)
        batch = await client.get_batch(batch.batch_id)
    frozen = time.perf_counter() - begun
    if batch.counts.selected < count:
        raise RuntimeError(f"{batch.counts} of {count} items were selected: {batch.error}")
    await client.cancel_batch(batch.batch_id)
    return {"frozen_s": frozen, "cancelled_s": time.perf_counter() - begun - frozen}
