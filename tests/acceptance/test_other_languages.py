"""A caller and a dispatcher in each other language: whole executions, leases kept and lost, a drain."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from acceptance.languages import LANGUAGES, Language
from dispatching import registered
from rig import QUICK, Rig, eventually
from waiting import GIVE_UP, until

import zart
from zart.testing.server import ServerUnderTest

AN_HOUR = 3_600_000
PAGE = (Path(__file__).parents[2] / "docs/dispatcher.md").read_text()


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda each: str(each.name))
async def test_executions_run_leases_are_kept_and_a_stop_tells_what_is_lost(
    language: Language, zart_server: ServerUnderTest, rig: Rig, tmp_path: Path
) -> None:
    folder = await asyncio.to_thread(language.built)
    log = tmp_path / "log"
    with language.running(folder, log, "dispatch", zart_server.address) as dispatcher:
        await registered(rig, language.task)
        for name in ("kept", "cancelled"):
            payload = {"number": 1, "millis": AN_HOUR}
            await rig.client.start(language.task, payload, execution_id=name)
        started = "start", zart_server.address, "quick", '{"number": 21, "millis": 0}'
        result = json.loads(await asyncio.to_thread(language.ran, folder, *started))

        assert result == {"look-up": {"user": 42}, "charge": {"receipt": "of quick:run:0/charge"}}

        async def are_at_work() -> bool:
            steps = [await rig.client.get_step(name, "charge") for name in ("kept", "cancelled")]
            return all(step.status == "RUNNING" for step in steps)

        await eventually(are_at_work)
        first = (await rig.client.get_step("kept", "charge")).lease_expires_at
        assert first is not None

        async def is_extended() -> bool:
            step = await rig.client.get_step("kept", "charge")
            return step.lease_expires_at is not None and step.lease_expires_at > first

        await eventually(is_extended)
        await rig.client.cancel_execution("cancelled")
        lost = "cancelled:run:0/charge: the lease is lost, the server gave it up"
        await until(lambda: lost in log.read_text())

        dispatcher.terminate()
        assert await asyncio.to_thread(dispatcher.wait, GIVE_UP) == 0, log.read_text()

    step = await rig.client.get_step("kept", "charge")
    assert (step.status, step.attempts[-1].status, step.attempts[-1].in_doubt) == (
        "DEAD", "LOST", True,
    )  # fmt: skip
    assert [each.attempts[-1].status for each in await steps_of(rig, "quick")] == ["COMPLETED"] * 3


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda each: str(each.name))
async def test_a_step_is_repeated_whose_delay_the_server_does_not_take(
    language: Language, zart_server: ServerUnderTest, rig: Rig, tmp_path: Path
) -> None:
    """A failure that is rejected is told again without its delay: it is not dead."""
    folder = await asyncio.to_thread(language.built)
    log = tmp_path / "log"
    busy = 400 * 86_400  # seconds: more than a server takes
    with language.running(folder, log, "dispatch", zart_server.address):
        await registered(rig, language.task)
        payload = {"number": 21, "millis": 0, "busy": busy}
        handle = await rig.client.start(language.task, payload, execution_id="busy")
        await handle.result(timeout=GIVE_UP)

    first, second = (await rig.client.get_step("busy", "look-up")).attempts
    assert first.error is not None
    assert (first.status, first.error.type, first.error.message) == ("FAILED", "RetryLater", "busy")
    assert second.status == "COMPLETED"


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda each: str(each.name))
async def test_a_result_that_is_too_large_is_a_failure_for_good(
    language: Language, zart_server: ServerUnderTest, rig: Rig, tmp_path: Path
) -> None:
    """No repeat makes it smaller."""
    folder = await asyncio.to_thread(language.built)
    steps = [
        zart.StepSpec("first", handler="ours"),
        zart.StepSpec("second", handler="ours"),
        zart.StepSpec("tell", ("first", "second"), retry=QUICK),  # what it is told of both
    ]
    with language.running(folder, tmp_path / "log", "dispatch", zart_server.address):
        await registered(rig, language.task)
        handle = await rig.client.start(language.task, execution_id="large", steps=steps)
        ours = await rig.lease(task=language.task, handlers=["ours"])
        assert await rig.complete(*ours, result="x" * 600_000) == ["RECORDED"] * 2
        run = await handle.run(timeout=GIVE_UP)

    assert run.status == "FAILED"
    (attempt,) = (await rig.client.get_step("large", "tell")).attempts
    assert attempt.error is not None
    assert attempt.error.type == "OutcomeRejected"
    assert "completed.result_json" in attempt.error.message


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda each: str(each.name))
def test_the_page_tells_how_each_is_built(language: Language) -> None:
    _, link, rest = PAGE.partition(f"(../examples/{language.name})")
    block = rest.split("```")[1]

    assert link
    assert block.splitlines()[1:] == [
        " ".join(command) for command in (*language.fetch, *language.build)
    ]


async def steps_of(rig: Rig, execution_id: str) -> list[zart.models.Step]:
    """Return the steps of an execution."""
    return list((await rig.client.get_execution(execution_id)).steps)
