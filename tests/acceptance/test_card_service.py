"""A card service fails now and then, then is down, then is back: a breaker looks after it.

Two servers share the work until one of them is killed.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from acceptance.serve_process import ServeProcess
from breaking import count_by_now, until
from dispatching import dispatching, registered
from rig import Rig, eventually

import zart
from zart.testing.server import ServerUnderTest

CONCURRENCY = 10
THRESHOLD = 30
RATIO = 0.8


class CardService:
    """Answers as it is told to; counts whom it refused."""

    def __init__(self) -> None:
        self.calls = 0
        self.fails: Callable[[int], bool] = lambda number: number % 2 == 0

    def charge(self) -> str:
        self.calls += 1
        if self.fails(self.calls):
            raise ConnectionError(f"card service: 503 for call {self.calls}")
        return "charged"


async def test_a_card_service_goes_down_and_comes_back(
    zart_database: str, zart_server: ServerUnderTest, rig: Rig, tmp_path: Path
) -> None:
    service = CardService()
    order = zart.Task("order")

    @order.step(retry=zart.Retry(max_attempts=10_000, initial_backoff=0.1, max_backoff=0.1))
    async def charge(ctx: zart.StepContext) -> str:
        return service.charge()

    async def all_are(status: str) -> bool:
        rows = await rig.db.fetch("SELECT DISTINCT status FROM zart_executions")
        return [row["status"] for row in rows] == [status]

    other = ServeProcess(zart_database, tmp_path / "log")
    try:
        made = await rig.client.create_breaker(
            task_name="order",
            step_pattern="ch*",
            failure_threshold=THRESHOLD,
            window=600,
            min_failure_ratio=RATIO,
            cooldown=1,
            rate_per_second=200,
        )
        await count_by_now(rig, made.breaker_id)
        async with dispatching(zart_server, order, concurrency=CONCURRENCY):
            await registered(rig, "order")

            async def is_asked_for() -> bool:
                return bool(zart_server.running.runtime.dispatch.completions)

            await eventually(is_asked_for)
            await start_many(rig, "half", 100)
            await eventually(lambda: all_are("completed"))

            async def are_counted() -> bool:
                # As many failed as were completed, more than enough: but not as the ratio says.
                found = await rig.client.get_breaker(made.breaker_id)
                assert (found.status, found.trip_count) == ("CLOSED", 0)
                completed = await rig.db.fetchval("SELECT sum(completed) FROM zart.breaker_counts")
                return completed == 100 and found.failures_in_window > THRESHOLD

            await eventually(are_counted)
            # Not before: each server sees at once what failed, and later what another completed.
            other.start()
            await asyncio.to_thread(other.until_listening)
            service.fails = lambda _number: True
            await start_many(rig, "down", 100)
            other.stop(signal.SIGKILL)
            opened = await until(rig.client, made.breaker_id, "OPEN")
            await stays_open_after_a_probe(rig, made.breaker_id)
            await burns_no_more_than_it_may(rig, opened.rule_id)

            service.fails = lambda _number: False
            await eventually(lambda: all_are("completed"))
            closed = await until(rig.client, made.breaker_id, "CLOSED")
    finally:
        if other.is_running:
            other.stop(signal.SIGKILL)
    assert closed.rule_id == opened.rule_id
    assert closed.trip_count == 1

    async def is_over() -> bool:
        return (await rig.client.get_pause_rule(opened.rule_id)).status == "RESUMED"

    await eventually(is_over)
    (rule,) = await rig.client.list_pause_rules(include_deleted=True)
    assert rule.release is not None
    assert rule.release.rate_per_second == 200
    receipt = await rig.client.verify_pause_rule(rule.rule_id)
    assert receipt.clean
    assert receipt.released_attempts >= 99


async def start_many(rig: Rig, prefix: str, count: int) -> None:
    """Start executions of the order."""
    await rig.client.batch_start_executions(
        [zart.Start("order", None, f"{prefix}-{n}") for n in range(count)]
    )


async def stays_open_after_a_probe(rig: Rig, breaker_id: str) -> None:
    """Wait until a probe has failed, and the breaker is open for twice as long."""

    async def is_open_again() -> bool:
        found = await rig.client.get_breaker(breaker_id)
        if found.status != "OPEN" or found.half_open_at is None:
            return False
        assert found.cooldown_ends_at is not None
        assert found.opened_at is not None
        return found.cooldown_ends_at - found.opened_at >= timedelta(seconds=2)

    await eventually(is_open_again)


async def burns_no_more_than_it_may(rig: Rig, rule_id: str) -> None:
    """Judge by the database's clock that it had reason to open, and by tokens what came after."""
    rule = await rig.db.fetchrow("SELECT * FROM zart.pause_rules WHERE rule_id = $1", rule_id)
    assert rule is not None
    reached = await rig.db.fetchval(
        "SELECT min(completed_at) FROM (SELECT completed_at,"
        "    count(*) FILTER (WHERE bad) OVER (ORDER BY completed_at) AS failed,"
        "    count(*) OVER (ORDER BY completed_at) AS ended"
        "  FROM (SELECT completed_at, true AS bad FROM zart.attempts WHERE status = 'failed'"
        "    UNION ALL SELECT completed_at, false FROM zart.steps WHERE status = 'completed') e"
        ") n WHERE failed >= $1 AND failed >= $2 * ended AND completed_at > ("
        "  SELECT min(created_at) FROM zart.executions WHERE execution_id LIKE 'down-%')",
        THRESHOLD,
        RATIO,
    )
    # Two looks later, half a second each, where the machine is not busy: no time is held here.
    assert reached <= rule["created_at"]
    burnt = await rig.db.fetchval(
        "SELECT count(*) FROM zart.attempts a WHERE lease_token > $1 AND NOT EXISTS ("
        " SELECT FROM zart.released_steps s WHERE (s.run_key, s.step_no, s.attempt)"
        " = (a.run_key, a.step_no, a.attempt))",
        rule["token_from"],
    )
    assert burnt == 0
