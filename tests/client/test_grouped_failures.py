"""What a step raises within a TaskGroup of its own says as much as if it had raised it itself."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from dispatching import dispatching, start
from rig import Rig
from waiting import GIVE_UP

import zart
from zart.dispatcher.in_hand import InHand, in_hand_of, seconds_of
from zart.dispatcher.outcomes import failed_with
from zart.testing.server import ServerUnderTest
from zart.v1 import dispatch_service_pb2 as pb


@pytest.fixture
def in_hand() -> InHand:
    (found,) = in_hand_of([pb.LeasedTask(task_id="1-1-1", lease_token=7)], 0.0)
    return found


class Hiding(ExceptionGroup[Exception]):
    """A group of a step's own that breaks whoever asks what it holds."""

    exceptions: Any = property(lambda _: 1 / 0)


FOR_GOOD = zart.StepFailed("declined", retryable=False)
BUSY = zart.StepFailed("busy", retry_after=5)
BUSIER = zart.StepFailed("busier", retry_after=70)


@pytest.mark.parametrize(
    ("errors", "retryable", "delay"),
    [
        ([ValueError("a"), OSError("b")], True, None),
        ([ValueError("a"), FOR_GOOD], False, None),
        ([BUSY, BUSIER, zart.StepFailed("other")], True, 70.0),
        ([ExceptionGroup("within", [ValueError("a"), BUSY, FOR_GOOD])], False, 5.0),
        ([Hiding("hiding", [FOR_GOOD, BUSY])], False, 5.0),
    ],
)
def test_a_group_is_as_final_as_one_of_it_and_waits_as_long(
    in_hand: InHand, errors: list[Exception], *, retryable: bool, delay: float | None
) -> None:
    failed = failed_with(in_hand, ExceptionGroup("of a step", errors)).failed
    assert failed.retryable is retryable
    found = seconds_of(failed.retry_after) if failed.HasField("retry_after") else None
    assert found == delay
    assert failed.error.type == "ExceptionGroup"


def test_a_base_exception_within_keeps_what_the_others_say(in_hand: InHand) -> None:
    group = BaseExceptionGroup("of a step", [KeyboardInterrupt(), FOR_GOOD])
    assert not failed_with(in_hand, group).failed.retryable


def test_one_alone_is_told_with_the_details_that_it_gives(in_hand: InHand) -> None:
    one = zart.StepFailed("declined", details="by the bank")
    error = failed_with(in_hand, ExceptionGroup("a", [ExceptionGroup("b", [one])])).failed.error
    assert (error.type, error.message, error.details) == ("StepFailed", "declined", "by the bank")


async def decline() -> None:
    raise zart.StepFailed("declined", retryable=False)


async def test_a_step_whose_child_fails_for_good_is_dead_at_once(
    rig: Rig, zart_server: ServerUnderTest, caplog: pytest.LogCaptureFixture
) -> None:
    task = zart.Task("t")

    @task.step(retry=zart.Retry(max_attempts=5, initial_backoff=0.01))
    async def charge(ctx: zart.StepContext) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(decline())

    with pytest.raises(zart.RunFailed, match="charge: declined"):
        await zart.testing.run(task)
    async with dispatching(zart_server, task):
        await (await start(rig, task)).run(timeout=GIVE_UP)
    step = await rig.client.get_step("x", "charge")
    assert (step.status, step.attempt) == ("DEAD", 1)
    (attempt,) = step.attempts
    assert attempt.error is not None
    assert (attempt.error.type, attempt.error.message) == ("StepFailed", "declined")
    assert "unhandled errors in a TaskGroup (1 sub-exception)" in attempt.error.details
    assert "in charge" in attempt.error.details
    assert "in decline" in attempt.error.details
    assert any("in decline)" in each.getMessage() for each in caplog.records)
