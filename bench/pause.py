"""How a pause bites at a million matching steps, and what ten thousand rules cost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import datetime
from typing import TypeAlias

import asyncpg

import zart
from bench.calls import calling
from bench.drain import CONCURRENCY, draining
from bench.history import checked, multiplied
from bench.product import Product, finished, product, registered, started
from bench.run import Run, told
from bench.series import Series
from bench.target import Target, at_least, at_most
from zart.v1 import admin_service_pb2 as pb

TITLE = "a pause of a million queued steps, its resume, and ten thousand rules"
COLUMNS = {
    "pause_ms": "Pause, ms",
    "leased_after": "leased after it returned",
    "moved_s": "all moved aside after, s",
    "others_settling": "others meanwhile, steps/s",
    "others_settled": "others afterwards, steps/s",
    "first_release_s": "Resume to first lease, s",
    "released_s": "all queued again after, s",
    "others_releasing": "others meanwhile, steps/s",
    "steps_per_second": "drain, steps/s",
}
MILLION = "one rule, 1 million steps"
_BOOT = 1.5  # seconds, of a dispatcher, where the machine does nothing else
_AT_WORK = 60.0  # seconds, on any machine
WITHOUT, WITH = "no rule", "10,000 rules"

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


async def measure(run: Run, series: Series) -> dict[str, object]:
    """Pause and resume a million queued steps under load; then drain beside many rules."""
    matching = run.size(1_000_000, 30_000)
    with product() as made:
        made.serve()
        async with made.client() as client:
            await registered(client)
            for task in ("single", "noop3"):
                await client.start(task, execution_id=task)
            await multiplied(made, "noop3", run.size(800_000, 150_000))
            await multiplied(made, "single", matching)
            await checked(client, "single", matching, "only", zart.StepStatus.SCHEDULED)
            async for took in _pauses(made, client, run.size(9, 1)):
                told(series, MILLION, pause_ms=took)
            told(series, MILLION, **await _paused(made, client, run.size(10, 1)))
    executions = run.size(20_000, 300)
    rules = run.size(10_000, 50)
    with product() as without, product() as beside:
        for made in (without, beside):
            made.serve()
            async with made.client() as client:
                await registered(client)
        await _many_rules(beside, rules)
        for round_ in run.times(3):
            for made, name in ((without, WITHOUT), (beside, WITH)):
                async with made.client() as client:
                    await started(client, executions, first=round_ * executions)
                    async with draining(made, executions * 3) as drained:
                        made.dispatch(CONCURRENCY)
                        await finished(client)
                    made.stop_dispatchers()
                rate = drained.figures["steps_per_second"]
                told(series, name, steps_per_second=rate)
    return {"matching steps": matching, "rules": rules, "executions a drain": executions}


def targets(series: Series) -> list[Target]:
    """Issue 3, line 6."""
    million = series.numbers[MILLION]
    settling = series.ratio((MILLION, "others_settling"), (MILLION, "others_settled"))
    rate = "steps_per_second"
    return [
        at_most(50, "Pause of a million queued steps", million["pause_ms"], "ms"),
        at_most(0, "of them leased after it returned", million["leased_after"], ""),
        at_least(0.8, "drain of everything else while they are moved aside", settling),
        at_most(1, "Resume to the first lease of them", million["first_release_s"], "s"),
        at_least(0.9, "drain beside 10,000 rules", series.ratio((WITH, rate), (WITHOUT, rate))),
    ]


async def _pauses(made: Product, client: zart.Client, count: int) -> AsyncIterator[float]:
    """Pause under load, and resume at once, so many times; gives how many ms each Pause took."""
    made.dispatch(CONCURRENCY)
    await asyncio.sleep(_BOOT)
    async with made.db() as db:
        for _ in range(count):
            begun = time.perf_counter()
            rule = (await client.pause(task_name="single", reason="bench")).rule
            yield (time.perf_counter() - begun) * 1000
            await client.resume(rule_id=rule.rule_id)
            await _nothing_to_move(db)
    made.stop_dispatchers()


async def _paused(made: Product, client: zart.Client, window: float) -> dict[str, float]:
    async with made.db() as db:
        made.dispatch(CONCURRENCY)
        await _at_work(db)
        await asyncio.sleep(window / 2)  # it drains both tasks by now
        begun = time.perf_counter()
        rule = (await client.pause(task_name="single", reason="bench")).rule
        paused = time.perf_counter()
        returned: datetime = await db.fetchval("SELECT clock_timestamp()")
        settling = await _others(db, window)
        made.stop_dispatchers()  # enough is left of the others for the next windows
        await _nothing_to_move(db)
        moved = time.perf_counter()
        made.dispatch(CONCURRENCY)
        await _at_work(db)
        settled = await _others(db, window)
        leased_after = await db.fetchval(
            "SELECT count(*) FROM zart_step_attempts a JOIN zart_executions e USING (execution_id)"
            " WHERE e.task_name = 'single' AND a.started_at > $1",
            returned,
        )
        resumed = time.perf_counter()
        await client.resume(rule_id=rule.rule_id)
        # Another dispatcher, of these alone: its call waits for the first of them.
        leased = await client.lease_tasks("bench", ["single"], wait=30)
        first = time.perf_counter()
        if not leased:
            raise RuntimeError("nothing was released")
        releasing = await _others(db, window)
        made.stop_dispatchers()
        await _nothing_to_move(db)
        released = time.perf_counter()
    if min(settling, settled, releasing) == 0:
        raise RuntimeError("there was nothing else to drain")
    return {
        "pause_ms": (paused - begun) * 1000,
        "leased_after": leased_after,
        "moved_s": moved - paused,
        "others_settling": settling,
        "others_settled": settled,
        "first_release_s": first - resumed,
        "released_s": released - resumed,
        "others_releasing": releasing,
    }


async def _at_work(db: Connection) -> None:
    """Wait until a dispatcher that was just begun has completed something of the other task."""
    async with asyncio.timeout(_AT_WORK):
        while not await _others(db, _BOOT):
            pass


async def _others(db: Connection, seconds: float) -> float:
    """Return the steps per second of the other task, for so long."""
    known: datetime = await db.fetchval("SELECT clock_timestamp()")
    await asyncio.sleep(seconds)
    ended: datetime = await db.fetchval("SELECT clock_timestamp()")
    count: int = await db.fetchval(
        "SELECT count(*) FROM zart.steps s JOIN zart.runs USING (run_key)"
        " JOIN zart.executions e USING (execution_key) WHERE e.task_name = 'noop3'"
        " AND s.completed_at > $1 AND s.completed_at <= $2",
        known,
        ended,
    )
    return count / (ended - known).total_seconds()


async def _nothing_to_move(db: Connection) -> None:
    """Wait until nothing is left to be moved for any rule."""
    while await db.fetchval("SELECT EXISTS (SELECT FROM zart.pause_work)"):
        await asyncio.sleep(0.05)


async def _many_rules(made: Product, count: int) -> None:
    """Add rules that match nothing of what is drained, of every kind of scope."""
    requests = []
    for n in range(count):
        request = pb.PauseRequest(reason="bench")
        if n % 3 == 0:
            request.execution_id = f"some-order-{n}"
        elif n % 3 == 1:
            request.task_name = f"some-task-{n}"
        else:
            request.task_name = "noop3"
            request.step_pattern = f"charge-{n}-*"
        requests.append(request)
    async with calling(made.address) as caller:
        await caller.timed("AdminService", "Pause", requests, callers=16)
