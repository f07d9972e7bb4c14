"""Brings about whatever metrics tell of: each state, and each way in which something can end."""

from __future__ import annotations

import asyncio

from batching import fail_all, start_many
from breaking import breaker
from gateway.sending import Http
from rig import Rig, eventually

import zart
from zart.errors import ZartError
from zart.models import IfInDoubt


async def have_all(rig: Rig, http: str) -> None:
    """Bring it about, where a dispatcher runs the tasks `quick` and `blocks`, and no other."""
    await _attempts(rig)
    await _operators(rig)
    await _callers(rig, http)


async def _attempts(rig: Rig) -> None:
    """Have attempts that ended in each way, steps in each state, and an attempt in doubt."""
    await rig.start("done", {"a": (), "b": ("a",)})
    await rig.complete(await rig.lease_one("a", "done"))
    again = await rig.lease_one("b", "done")
    await rig.complete(again)
    await rig.complete(again)
    await rig.start("doubted", {"a": ()}, if_in_doubt=IfInDoubt.STOP)
    lost = await rig.lease_one("a", "doubted", lease_duration=1)

    async def is_lost() -> bool:
        return await rig.statuses("doubted") == {"a": "DEAD"}

    await eventually(is_lost)
    await rig.complete(lost)
    await rig.start("ends", {"a": ()})
    for ending in (zart.TimedOut(), zart.Released()):
        task = await rig.lease_one("a", "ends")
        await rig.report(zart.Outcome(task.task_id, task.lease_token, ending))
    await rig.fail(await rig.lease_one("a", "ends"))
    await rig.start("cancelled", {"a": ()})
    await rig.lease_one("a", "cancelled")
    await rig.client.cancel_execution("cancelled")
    await rig.start("runs", {"a": ()})
    await rig.lease_one("a", "runs", lease_duration=3600)


async def _operators(rig: Rig) -> None:
    """Have rules in each state, a release and a batch that go on, and breakers."""
    # The batch and the release are to go on for as long as anybody looks at them.
    await start_many(rig.client, 20, "dead")
    while await fail_all(rig.client):
        pass
    await rig.client.create_batch(
        zart.RetryStep(), execution_ids=[f"dead-{n}" for n in range(20)], rate_per_second=0.01
    )
    await rig.client.pause(execution_id="paused")
    await rig.start("paused", {"a": (), "b": ()})
    rule = (await rig.client.pause(execution_id="released")).rule.rule_id
    await rig.start("released", dict.fromkeys("abcdefghijklmnopqrst", ()))
    await rig.client.resume(rule_id=rule, rate_per_second=0.01)
    await breaker(rig.client)


async def _callers(rig: Rig, http: str) -> None:
    """Have operations planned and refused, more than are recorded, and requests of a gateway."""
    await rig.start("scheduled", {"a": ()})
    await rig.client.cancel_execution("scheduled", validate_only=True)

    async def be_refused() -> None:
        try:
            await rig.client.retry_step("nobody", "a")
        except ZartError:
            return
        raise AssertionError("it was to be refused")

    await asyncio.gather(*(be_refused() for _ in range(80)))
    await rig.client.start("quick", execution_id="quick")
    await rig.client.handle("quick").result()
    answer = await asyncio.to_thread(Http(http).get, "/api/v1/executions/quick")
    assert answer.status == 200
