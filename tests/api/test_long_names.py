"""Whatever its names come to, a graph that is taken can be read by each answer about it."""

from __future__ import annotations

from contextlib import aclosing

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from rig import Rig

import zart
from zart import errors
from zart.v1 import execution_pb2 as states
from zart.v1 import execution_service_pb2 as pb
from zart_server.api.too_large import leave_out_too_much
from zart_server.domain import graph as graphs
from zart_server.domain.graph import MAX_EDGES, MAX_GRAPH_BYTES, MAX_NAME_BYTES, MAX_STEPS

MESSAGE = 16 * 1024 * 1024  # bytes
PAYLOAD = "p" * 1_000_000
EACH = MAX_EDGES // (MAX_STEPS - 10)  # dependencies, but for the first steps
LONGEST = 255


def at_the_bound(*, more: int = 0, more_input: int = 0) -> list[zart.StepSpec]:
    """Make a graph of as many steps and bytes as are taken, and of nearly as many edges."""
    names = [
        f"s{n}".ljust(MAX_NAME_BYTES // (MAX_STEPS + MAX_EDGES) - 10, "-") for n in range(MAX_STEPS)
    ]
    depends_on = [tuple(names[:EACH]) if n >= 10 else () for n in range(MAX_STEPS)]
    edges = sum(map(len, depends_on))
    room = MAX_NAME_BYTES + more - (MAX_STEPS + edges) * len(names[0])
    inputs = MAX_GRAPH_BYTES - MAX_NAME_BYTES + more_input
    steps = []
    for n, name in enumerate(names):
        handler = min(room - (MAX_STEPS - 1 - n), LONGEST)
        room -= handler
        text = inputs // (MAX_STEPS - n)
        inputs -= text
        steps.append(
            zart.StepSpec(name, depends_on[n], handler="h" * handler, input="i" * (text - 2))
        )
    assert room == inputs == 0
    return steps


async def test_a_graph_at_the_bound_is_in_each_answer(rig: Rig) -> None:
    call = rig.client
    steps = at_the_bound()
    await call.register_task("t", steps)
    await call.start("t", PAYLOAD, execution_id="x")

    [listed] = [one async for one in call.list_task_definitions()]
    found = await call.get_task_definition("t")
    for told in (listed, found):
        assert [step.depends_on for step in told.steps] == [step.depends_on for step in steps]
    assert [step.input for step in found.steps] == [step.input for step in steps]
    state = await call.get_execution("x")
    assert [step.handler for step in state.steps] == [step.handler for step in steps]
    assert [step.depends_on for step in state.steps] == [step.depends_on for step in steps]
    assert state.steps[10].waiting_on.startswith(f"steps {steps[0].step_name}, ")
    async with aclosing(call.watch_execution("x")) as watched:
        assert len((await anext(watched)).steps) == MAX_STEPS
    [run] = [one async for one in call.list_runs("x")]
    assert run.run_number == 0
    assert (await call.get_step("x", steps[-1].step_name)).step_name == steps[-1].step_name


@pytest.mark.parametrize(
    ("beyond", "limit", "of", "advice"),
    [
        (
            {"more": 1, "more_input": -1},
            MAX_NAME_BYTES,
            "of names of steps, of handlers, and in depends_on",
            "shorten the names, or depend on fewer",
        ),
        (
            {"more_input": 1},
            MAX_GRAPH_BYTES,
            "of inputs, as JSON, and of names",
            "keep inputs elsewhere, and pass where they are",
        ),
    ],
    ids=["names", "inputs"],
)
async def test_what_is_beyond_the_bound_is_refused(
    rig: Rig, beyond: dict[str, int], limit: int, of: str, advice: str
) -> None:
    with pytest.raises(errors.PayloadTooLarge) as refused:
        await rig.client.start("t", execution_id="x", steps=at_the_bound(**beyond))
    told = f"{limit + 1} bytes {of}, at most {limit} are taken: {advice}"
    assert refused.value.message == f"steps: {told}"
    with pytest.raises(errors.ExecutionNotFound):
        await rig.client.get_execution("x")


async def test_inputs_are_counted_as_the_json_that_they_become(rig: Rig) -> None:
    inflated = "\x01" * 130_000  # six times as long as JSON
    steps = [zart.StepSpec(f"s{n}", input=inflated) for n in range(20)]
    told = r"definition\.steps: \d+ bytes of inputs, as JSON, and of names"
    with pytest.raises(errors.PayloadTooLarge, match=told):
        await rig.client.register_task("t", steps)


async def test_a_graph_that_is_stored_and_beyond_the_bound_hides_nothing_else(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As was taken before there was a bound."""
    monkeypatch.setattr(graphs, "MAX_NAME_BYTES", 2 * MESSAGE)
    monkeypatch.setattr(graphs, "MAX_GRAPH_BYTES", 2 * MESSAGE)
    names = [f"s{n}".ljust(LONGEST, "-") for n in range(MAX_STEPS)]
    steps = [
        zart.StepSpec(name, names[:10] if n >= MAX_STEPS // 2 else ())
        for n, name in enumerate(names)
    ]
    await rig.client.register_task("large", steps)
    await rig.client.register_task("next", [zart.StepSpec("a")])
    await rig.client.start("large", execution_id="x")

    listed = [one async for one in rig.client.list_task_definitions()]
    assert [(one.task_name, len(one.steps)) for one in listed] == [("large", 0), ("next", 1)]
    state = await rig.client.get_execution("x")
    assert [step.depends_on for step in state.steps] == [tuple(step.depends_on) for step in steps]
    assert not any(step.waiting_on for step in state.steps if step.status == "PENDING")
    last = await rig.client.get_step("x", names[-1])
    assert last.waiting_on.startswith(f"steps {names[0]}, ")
    assert last.handler == names[-1]


def test_names_at_the_bound_leave_room_for_all_else_that_a_step_has() -> None:
    """No step of a run has all of this, and no answer has more."""
    name = "n" * (MAX_NAME_BYTES // (2 * MAX_STEPS + MAX_EDGES))
    longest = "d" * LONGEST
    text = "\U0001f600" * 50
    error = states.StepError(type=text[:100], message=text, details=text)
    far = Timestamp(seconds=253402300799, nanos=999_999_999)
    attempt = states.Attempt(
        attempt=2**31 - 1, status=states.ATTEMPT_STATUS_FAILED, dispatcher_id=longest,
        principal=longest, error=error, reason=longest, started_at=far, completed_at=far,
    )  # fmt: skip
    step = states.Step(
        step_name=name, handler=name, depends_on=[name] * (MAX_EDGES // MAX_STEPS),
        status=states.STEP_STATUS_DEAD, attempt=2**31 - 1, max_attempts=2**31 - 1,
        input_json=text, result_json=text, last_error=error, retryable=True,
        task_id="-".join(("f" * 16, "f" * 4, "f" * 8)), not_before=far, lease_owner=longest,
        lease_expires_at=far, paused_by="pr-12345678", waiting_on=text, scheduled_at=far,
        preserved_from_run_number=2**31 - 1, started_at=far, completed_at=far,
        attempts=[attempt] * 2, in_doubt=True, input_corrections=2**31 - 1,
        resolution=states.STEP_RESOLUTION_EXECUTED,
    )  # fmt: skip
    run = states.Run(payload_json=PAYLOAD, result_json=text, error="e" * 16_384)
    state = pb.GetExecutionResponse(run=run, steps=[step] * MAX_STEPS)
    leave_out_too_much(state)

    assert state.ByteSize() < 15 * 1024 * 1024
    first, last = state.steps[0], state.steps[-1]
    assert first.handler == last.handler == name
    assert list(last.depends_on) == list(step.depends_on)
    assert (last.waiting_on, len(last.attempts), last.HasField("last_error")) == ("", 0, False)
    assert last.errors_omitted
    assert last.input_omitted
    assert last.result_omitted


def test_what_steps_wait_for_goes_first_and_attempts_go_last() -> None:
    error = states.StepError(message="m" * 100)
    attempts = [states.Attempt(attempt=n, error=error, dispatcher_id="d") for n in (1, 2)]
    step = states.Step(
        step_name="a", handler="a", waiting_on="w" * 100, last_error=error, attempts=attempts
    )
    left = []
    for most in (900, 880, 670, 450, 230, 20):
        state = pb.GetExecutionResponse(steps=[step] * 2)
        leave_out_too_much(state, most)
        left.append(
            [
                (one.waiting_on != "", len(one.attempts), one.HasField("last_error"), one.handler)
                for one in state.steps
            ]
        )
        assert [one.errors_omitted for one in state.steps] == [
            len(one.attempts) < len(attempts) for one in state.steps
        ]
    whole = (True, 2, True, "a")
    assert left == [
        [whole, whole],
        [whole, (False, 2, True, "a")],
        [(False, 2, True, "a"), (False, 1, True, "a")],
        [(False, 1, True, "a"), (False, 0, True, "a")],
        [(False, 0, True, "a"), (False, 0, False, "a")],
        [(False, 0, False, ""), (False, 0, False, "")],
    ]
