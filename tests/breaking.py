"""What tests of breakers do: make one, let attempts end badly, wait for its state."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from rig import LONG, Rig, eventually

import zart
from zart.models import Breaker, LeasedTask, StepError

ONE = {"charge": ()}
COOLDOWN = timedelta(hours=1)  # which no test waits for
BAD = StepError("CardError", "card 4711 was declined", "")


async def breaker(client: zart.Client, **settings: Any) -> str:
    """Make a breaker of the steps `charge*` of the task `t`, and return its id."""
    wanted: dict[str, Any] = {
        "task_name": "t",
        "step_pattern": "charge*",
        "failure_threshold": 3,
        "window": 60.0,
    }
    return (await client.create_breaker(**(wanted | settings))).breaker_id


async def count_by_now(rig: Rig, breaker_id: str) -> None:
    """Have a breaker with a ratio count by now, as if its generation had begun long ago."""
    await _begin_generation(rig, breaker_id, "-1 minute")


async def count_not_yet(rig: Rig, breaker_id: str) -> None:
    """Have a breaker with a ratio not count yet, as if its generation were to begin only now."""
    await _begin_generation(rig, breaker_id, "1 hour")


async def _begin_generation(rig: Rig, breaker_id: str, after: str) -> None:
    await rig.db.execute(
        "UPDATE zart.breakers SET closed_at = statement_timestamp() + $2::text::interval"
        " WHERE breaker_id = $1",
        breaker_id,
        after,
    )


async def fail(
    rig: Rig, count: int, prefix: str = "x", *, error: StepError = BAD, retryable: bool = False
) -> None:
    """Let one attempt end badly in each of so many new executions."""
    for n in range(count):
        await rig.start(f"{prefix}-{n}", ONE)
    leased = await rig.lease(1000)
    assert len(leased) == count
    ending = zart.Failed(error, retryable)
    await rig.report(*(zart.Outcome(t.task_id, t.lease_token, ending) for t in leased))


async def until(client: zart.Client, breaker_id: str, status: str) -> Breaker:
    """Wait until a breaker has a status, and return it."""
    found: list[Breaker] = []

    async def has_status() -> bool:
        found[:] = [await client.get_breaker(breaker_id)]
        return found[0].status == status

    await eventually(has_status)
    return found[0]


async def until_counted(client: zart.Client, breaker_id: str, failures: int) -> Breaker:
    """Wait until a breaker has counted so many failures, and return it."""
    found: list[Breaker] = []

    async def has_counted() -> bool:
        found[:] = [await client.get_breaker(breaker_id)]
        return found[0].failures_in_window == failures

    await eventually(has_counted)
    return found[0]


async def tripped(rig: Rig, count: int = 3, **settings: Any) -> str:
    """Make a breaker, open it, and start executions that it pauses."""
    breaker_id = await breaker(rig.client, **({"cooldown": COOLDOWN} | settings))
    await rig.client.trip_breaker(breaker_id)
    for n in range(count):
        await rig.start(f"x-{n}", ONE)
    return breaker_id


async def cool(rig: Rig) -> None:
    """Have the open breaker been open for as long as it stays so."""
    await rig.db.execute(
        "UPDATE zart.breakers SET opened_at = opened_at - cooldown * cooldowns"
        " WHERE status = 'open'"
    )


async def probe(rig: Rig) -> LeasedTask:
    """Have the breaker try, unless it does; lease the one step that is let go."""
    await cool(rig)
    (found,) = await rig.lease(wait=LONG)
    return found
