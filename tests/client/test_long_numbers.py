"""Integers of more digits than Python makes an int of: servers take them, so callers can read them."""

from __future__ import annotations

from decimal import Decimal

import pytest
from dispatching import dispatching, start
from rig import Rig, specs
from waiting import GIVE_UP

import zart
from zart.json_values import value_of
from zart.testing.server import ServerUnderTest

DIGITS = "9" * 5_000
NUMBER = Decimal(DIGITS)
PAYLOAD = zart.JsonText(f'{{"long": {DIGITS}, "short": 7}}')


def test_only_what_python_makes_no_int_of_is_another_number() -> None:
    assert value_of(f"[-{DIGITS}, 7, 1.5]") == [Decimal(f"-{DIGITS}"), 7, 1.5]
    assert [type(n) for n in value_of(f"[{DIGITS}, 7, 1.5]")] == [Decimal, int, float]
    assert type(value_of("9" * 4_300)) is int
    most = "9" * 1024 * 1024
    assert str(value_of(most)) == most
    with pytest.raises(ValueError, match="Expecting value"):
        value_of("nothing")


async def test_executions_and_tasks_with_one_can_be_read(rig: Rig) -> None:
    for name, payload in (("x", PAYLOAD), ("y", 1)):
        await rig.client.start("t", payload, execution_id=name, steps=specs({"a": (), "b": ("a",)}))
    state = await rig.client.get_execution("x")
    assert state.run.payload == {"long": NUMBER, "short": 7}

    tasks = {task.execution_id: task for task in await rig.lease()}
    assert tasks["x"].payload == state.run.payload
    assert tasks["y"].payload == 1
    await rig.complete(tasks["x"], result=zart.JsonText(DIGITS))
    task = await rig.lease_one("b")
    lease = zart.Lease(task.task_id, task.lease_token)
    assert await rig.client.get_step_results(lease, ["a"]) == {"a": NUMBER}
    await rig.complete(task, result=zart.JsonText(DIGITS))
    assert await rig.client.handle("x").result() == NUMBER


async def test_a_step_is_given_one(rig: Rig, zart_server: ServerUnderTest) -> None:
    task = zart.Task("t")

    @task.step()
    async def first(_: zart.StepContext) -> zart.JsonText:
        return zart.JsonText(DIGITS)

    @task.step(depends_on=[first])
    async def second(ctx: zart.StepContext) -> bool:
        return bool(ctx.payload["long"] == ctx.result_of(first) == NUMBER)

    @task.step(depends_on=[second])
    async def third(ctx: zart.StepContext) -> object:
        return ctx.payload

    async with dispatching(zart_server, task):
        handle = await start(rig, task, PAYLOAD)
        await handle.run(timeout=GIVE_UP)
    state = await handle.state()
    assert state.step("second").result is True
    (attempt,) = state.step("third").attempts
    assert attempt.error is not None
    assert attempt.error.type == "ResultNotJson"
    assert "Decimal" in attempt.error.message
