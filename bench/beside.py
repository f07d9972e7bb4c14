"""What a drain pays for what operators leave standing: exemptions and closed breakers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import zart
from bench.drain import CONCURRENCY, STEPS, draining
from bench.product import finished, product, registered, started
from bench.run import Run, told
from bench.series import Series
from bench.target import Target, at_most

TITLE = "a drain beside 1,000 exemptions of one rule, and beside 1,000 breakers"
COLUMNS = {
    "steps_per_second": "steps/s",
    "cpu_us_per_step": "server, dispatcher and PostgreSQL, µs CPU a step",
    "server_us_per_step": "server, µs",
    "postgres_us_per_step": "PostgreSQL, µs",
}
NOTHING = "nothing"
RULE = "a rule"
EXEMPT = "exemptions"
BREAKERS = "breakers"
WITH_RATIO = "breakers with a ratio"
_AT_ONCE = 16

Prepare = Callable[[zart.Client, int], Awaitable[None]]


async def measure(run: Run, series: Series) -> dict[str, object]:
    """Drain beside each in turn, several times round."""
    executions, count = run.size(30_000, 600), run.size(1_000, 20)
    kinds: dict[str, Prepare] = {
        NOTHING: _nothing,
        RULE: _a_rule,
        EXEMPT: _exempt,
        BREAKERS: _breakers,
        WITH_RATIO: _breakers_with_ratio,
    }
    for _ in run.times(5):
        for name, prepare in kinds.items():
            told(series, name, **await _drained(executions, count, prepare))
    return {"executions": executions, "of each": count, "concurrency": CONCURRENCY}


def targets(series: Series) -> list[Target]:
    """Issue 13, lines 5 and 7: the CPU of a step, which all of a drain's time is spent on.

    Exemptions are compared with their rule without them.
    """
    cpu = "cpu_us_per_step"
    return [
        at_most(most, f"a step beside 1,000 {name}", series.ratio((name, cpu), (base, cpu)))
        for name, base, most in (
            (EXEMPT, RULE, 1.03), (BREAKERS, NOTHING, 1.02), (WITH_RATIO, NOTHING, 1.02),
        )
    ]  # fmt: skip


async def _drained(executions: int, count: int, prepare: Prepare) -> dict[str, float]:
    with product() as made:
        made.serve()
        async with made.client() as client:
            await registered(client)
            await started(client, executions)
            await prepare(client, count)
            async with draining(made, executions * STEPS) as drained:
                made.dispatch(CONCURRENCY)
                await finished(client)
    figures = drained.figures
    cpu = sum(number for name, number in figures.items() if name.endswith("us_per_step"))
    return {
        "steps_per_second": figures["steps_per_second"],
        "cpu_us_per_step": cpu,
        "server_us_per_step": figures["server_us_per_step"],
        "postgres_us_per_step": figures["postgres_us_per_step"],
    }


async def _nothing(client: zart.Client, count: int) -> None:
    """Leave nothing, of a server that has served as many calls as beside breakers.

    Its connections are open and its caches full: what a drain pays for that is not what is asked.
    """
    ids = await _created(client, count, 0.0)
    await _in_turn(count, lambda n: client.delete_breaker(ids[n]))


async def _rule(client: zart.Client, count: int) -> str:
    """Add a rule of the task that matches no step of it."""
    await _nothing(client, count)
    rule = await client.pause(task_name="noop3", step_pattern="later-*", reason="bench")
    return rule.rule_id


async def _a_rule(client: zart.Client, count: int) -> None:
    await _rule(client, count)


async def _exempt(client: zart.Client, count: int) -> None:
    """Add that rule, and exempt so many of the executions that are drained."""
    ids = [f"noop3-{n}" for n in range(count)]
    await client.update_pause_rule(await _rule(client, count), exempt=ids)


async def _breakers(client: zart.Client, count: int) -> None:
    await _created(client, count, 0.0)


async def _breakers_with_ratio(client: zart.Client, count: int) -> None:
    await _created(client, count, 0.5)


async def _created(client: zart.Client, count: int, ratio: float) -> dict[int, str]:
    """Add so many breakers: half of them match what is drained, by pattern or without."""
    ids: dict[int, str] = {}

    async def create(n: int) -> None:
        made = await client.create_breaker(
            task_name="noop3" if n % 2 else f"other-{n}",
            step_pattern="*e" if n % 4 == 1 else "*",
            failure_threshold=100,
            window=60,
            min_failure_ratio=ratio,
        )
        ids[n] = made.breaker.breaker_id

    await _in_turn(count, create)
    return ids


async def _in_turn(count: int, do: Callable[[int], Awaitable[object]]) -> None:
    async def some(numbers: range) -> None:
        for n in numbers:
            await do(n)

    await asyncio.gather(*(some(range(n, count, _AT_ONCE)) for n in range(_AT_ONCE)))
