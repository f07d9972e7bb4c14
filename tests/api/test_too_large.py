"""An execution can be read whatever its texts come to: a message holds them, or says what it has not."""

from __future__ import annotations

import secrets

from rig import Rig, specs

import zart
from zart.models import StepError
from zart.v1 import execution_pb2 as states
from zart.v1 import execution_service_pb2 as pb
from zart_server.api.too_large import leave_out_too_much

STEPS = 400
INPUT = "i" * 10_000


async def finished(rig: Rig) -> None:
    """Have an execution x whose steps have failed once, with texts of each kind near its bound."""
    graph: dict[str, tuple[str, ...]] = {f"s{n}": () for n in range(STEPS)}
    await rig.client.start("t", execution_id="x", steps=specs(graph, input=INPUT))
    while tasks := await rig.lease(200):
        await rig.report(
            *(
                zart.Outcome(
                    task.task_id,
                    task.lease_token,
                    zart.Completed(secrets.token_hex(5_000))
                    if task.attempt > 1
                    else zart.Failed(StepError("Broken", "no", secrets.token_hex(6_000))),
                )
                for task in tasks
            )
        )
    # Only now: each task that is leased has it.
    await rig.db.execute("UPDATE zart.runs SET payload = to_json(repeat('p', 1000000))")


async def test_texts_that_are_more_than_a_message_together_do_not_hide_an_execution(
    rig: Rig,
) -> None:
    await finished(rig)
    state = await rig.client.get_execution("x")
    assert state.run.status == "COMPLETED"
    assert state.run.result_omitted
    assert len(state.steps) == STEPS
    for step in state.steps:
        assert (step.result is None) == step.result_omitted
        assert (step.input is None) == step.input_omitted
    assert not any(step.result_omitted or step.input_omitted for step in state.steps)
    assert len(str(state.run.payload)) == 1_000_000
    found = await rig.client.handle("x").result()
    assert found == {step.step_name: step.result for step in state.steps}


def state_of(steps: int) -> pb.GetExecutionResponse:
    """Make an answer with texts of 1,000 bytes each."""
    text = "x" * 1_000
    error = states.StepError(type="T" * 150, message="m" * 150, details=text)
    step = states.Step(
        step_name="a", input_json=text, result_json=text, last_error=error,
        attempts=[states.Attempt(attempt=1, error=error), states.Attempt(attempt=2)],
    )  # fmt: skip
    run = states.Run(result_json=text, payload_json=text)
    return pb.GetExecutionResponse(run=run, steps=[step] * steps)


def test_no_more_is_left_out_than_has_to_be() -> None:
    whole = state_of(3)
    size = whole.ByteSize()
    left: list[tuple[bool, list[bool], list[bool], list[bool]]] = []
    for most in (
        size,
        size - 1,
        size - 1_500,
        size - 3_500,
        size - 4_500,
        size - 11_000,
        size - 12_800,
    ):
        state = state_of(3)
        leave_out_too_much(state, most)
        assert state.ByteSize() <= most
        left.append(
            (
                state.run.HasField("result_json"),
                [step.input_omitted for step in state.steps],
                [step.errors_omitted for step in state.steps],
                [step.result_omitted for step in state.steps],
            )
        )
        for step in state.steps:
            assert step.HasField("input_json") != step.input_omitted
            assert step.HasField("result_json") != step.result_omitted
            details = [step.last_error.details, step.attempts[0].error.details]
            assert [not text for text in details] == [step.errors_omitted] * 2
            assert len(step.last_error.message) == 150
            assert not step.attempts[1].HasField("error")
    none, last, every = [False] * 3, [False, False, True], [True] * 3
    assert left == [
        (True, none, none, none),
        (False, none, none, none),
        (False, last, none, none),
        (False, every, none, none),
        (False, every, last, none),
        (False, every, every, last),
        (False, every, every, every),
    ]
