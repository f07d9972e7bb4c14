"""ExplainStep of steps that may have happened, or have: its commands, run as they stand."""

from __future__ import annotations

import pytest
from doubts import ONE, STOP, in_doubt
from rig import CHAIN, Rig

import zart
from zart.cli.main import main
from zart.models import StepError
from zart.testing.server import ServerUnderTest

HAPPENED, DID_NOT = zart.InDoubtFinding.HAPPENED, zart.InDoubtFinding.DID_NOT_HAPPEN


def command(server: ServerUnderTest, *arguments: str) -> int:
    """Run a command of zart; gives its exit code."""
    name, *others = arguments
    return main([name, "--address", server.address, *others])


async def test_why_tells_of_the_doubt_and_its_command_works(
    rig: Rig, zart_server: ServerUnderTest, capsys: pytest.CaptureFixture[str]
) -> None:
    await in_doubt(rig, "-x", graph=CHAIN, late=zart.Failed(StepError("Declined", "no", "")))
    (dead,) = (await rig.client.explain_step("-x", "a")).steps
    assert [cause.kind for cause in dead.causes] == ["IN_DOUBT", "DEAD"]
    assert "attempt 1 ended LOST, and may have had its effect" in dead.causes[0].text
    assert "FAILED" in dead.causes[0].text
    assert "complete it by hand" in dead.next
    (waiting,) = (await rig.client.explain_step("-x", "b")).steps
    await rig.start("y", ONE, **STOP)
    await rig.lease_one("a", "y")
    await rig.client.cancel_execution("y")
    (over,) = (await rig.client.explain_step("y", "a")).steps
    assert [cause.kind for cause in over.causes] == ["IN_DOUBT", "RUN_ENDED"]
    for step, named in ((dead, "-x"), (waiting, "-x"), (over, "y")):
        assert step.next_command[:2] == ("zart", "in-doubt")
        assert command(zart_server, *step.next_command[1:]) == 0
        assert named in capsys.readouterr().out
    await rig.client.resolve_in_doubt("-x", "a", DID_NOT, run_number=0, attempt=1)
    (dead,) = (await rig.client.explain_step("-x", "a")).steps
    assert [cause.kind for cause in dead.causes] == ["DEAD"]
    assert command(zart_server, *dead.next_command[1:]) == 0


@pytest.mark.parametrize("found", [None, HAPPENED])
async def test_why_has_what_happened_completed_by_hand(
    rig: Rig, zart_server: ServerUnderTest, found: zart.InDoubtFinding | None
) -> None:
    await in_doubt(rig, "-x", graph=CHAIN, late=zart.Completed({"paid": -7}))
    if found is not None:
        await rig.client.resolve_in_doubt("-x", "a", found, run_number=0, attempt=1)
    (dead,) = (await rig.client.explain_step("-x", "a")).steps
    assert [cause.kind for cause in dead.causes] == (
        ["IN_DOUBT", "DEAD"] if found is None else ["DEAD"]
    )
    assert dead.next_command[:2] == ("zart", "complete-step")
    assert command(zart_server, *dead.next_command[1:]) == 0
    step = await rig.client.get_step("-x", "a")
    assert (step.status, step.result) == ("COMPLETED", {"paid": -7})
    assert await rig.statuses("-x") == {"a": "COMPLETED", "b": "SCHEDULED", "c": "PENDING"}


async def test_why_has_nothing_run_again_that_was_found_to_have_happened(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    await rig.client.pause(step_pattern="other")
    await in_doubt(rig, graph={"a": (), "b": ("a",), "other": ()})
    await rig.client.resolve_in_doubt("x", "a", HAPPENED, run_number=0, attempt=1)
    dead, waiting, _ = (await rig.client.explain_step("x")).steps
    assert dead.causes[0].text.endswith("; attempt 1 was found to have happened")
    assert dead.next == "It has happened: complete it by hand with what it returned."
    assert dead.next_command == ("zart", "status", "x", "a")
    assert waiting.next == "Complete a by hand, which is dead and has happened."
    assert waiting.next_command == ("zart", "why", "x", "a")
    await rig.client.cancel_execution("x")
    (over,) = (await rig.client.explain_step("x", "b")).steps
    assert "A step of it has happened, a: rerun it with --accept-in-doubt" in over.next
    for step in (dead, waiting, over):
        assert command(zart_server, *step.next_command[1:]) == 0
