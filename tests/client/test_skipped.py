"""What a handler sees of a step that an operator skipped, and the commands that end steps by hand."""

from __future__ import annotations

import asyncio

import pytest
from client.scripted import STEP, Run
from rig import Rig

import zart
from zart.testing.server import ServerUnderTest
from zart.v1 import admin_service_pb2 as admin
from zart.v1 import execution_pb2 as states

mailing = zart.Task("mailing")


@mailing.step()
async def mail(ctx: zart.StepContext) -> str:
    return f"mailed {ctx.execution_id}"


@mailing.step(depends_on=[mail])
async def ship(ctx: zart.StepContext) -> list[object]:
    return [ctx.skipped(mail), ctx.result_of(mail, default="not mailed")]


def test_a_skipped_step_has_no_result_but_a_default() -> None:
    ctx = zart.testing.context(skipped=[mail], results={"other": None}, step_name="ship")
    assert (ctx.skipped(mail), ctx.skipped("other")) == (True, False)
    assert ctx.result_of(mail, default=None) is None
    assert ctx.result_of("other", default=7) is None
    with pytest.raises(zart.StepSkipped) as skipped:
        ctx.result_of(mail)
    assert skipped.value.step_name == "mail"
    with pytest.raises(LookupError, match="does not depend on 'nobody'"):
        ctx.skipped("nobody")


async def test_a_dispatcher_hands_on_that_a_step_was_skipped(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    await rig.client.register_task("mailing", mailing.specs)
    handle = await rig.client.start(mailing, execution_id="x")
    await rig.client.complete_step("x", "mail", skip=True)
    stop = asyncio.Event()
    dispatcher = zart.Dispatcher([mailing], address=zart_server.address, grace=0.1)
    working = asyncio.create_task(dispatcher.run(stop))
    assert await handle.result() == [True, "not mailed"]
    stop.set()
    await working


def _answer(kind: type, resolution: states.StepResolution.ValueType) -> object:
    step = states.Step()
    step.CopyFrom(STEP)
    step.status, step.resolution = states.STEP_STATUS_COMPLETED, resolution
    fenced = states.FencedStep(step_name="b", attempt=2, dispatcher_id="d1")
    return kind(
        run_id="x:run:1", step=step, run_status=states.RUN_STATUS_RUNNING, fenced_steps=[fenced]
    )


def test_complete_step_says_what_became_of_the_run_and_who_was_fenced(run: Run) -> None:
    answer = _answer(admin.CompleteStepResponse, states.STEP_RESOLUTION_COMPLETED_BY_OPERATOR)
    code, out, _, (request,) = run(
        """complete-step x b --result '{"n": 1.50}' --fence --expect-attempt 2 --expect-run 1""",
        ("CompleteStep", answer),
    )
    assert code == 0
    assert "is COMPLETED (by hand), the run RUNNING" in out
    assert "b (attempt 2, on d1): its result will be refused" in out
    assert (request.result_json, request.fence) == ('{"n": 1.50}', True)
    assert (request.expected_attempt, request.expected_run_number) == (2, 1)


def test_skip_step_and_fail_step(run: Run) -> None:
    answer = _answer(admin.CompleteStepResponse, states.STEP_RESOLUTION_SKIPPED_BY_OPERATOR)
    _, out, _, (request,) = run("skip-step x b", ("CompleteStep", answer))
    assert "is COMPLETED (skipped), the run RUNNING" in out
    assert (request.WhichOneof("result_kind"), request.fence) == ("skip", False)
    assert not request.HasField("expected_attempt")
    failed = _answer(admin.FailStepResponse, states.STEP_RESOLUTION_UNSPECIFIED)
    code, _, _, (request,) = run("fail-step x b --message 'no such address'", ("FailStep", failed))
    assert (code, request.message) == (0, "no such address")


def test_a_result_that_is_no_json_is_told_by_its_option(run: Run) -> None:
    code, _, err, _ = run("complete-step x b --result nothing")
    assert code == 2
    assert "--result" in err
