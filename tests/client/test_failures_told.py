"""What is told of a failure: the step's own error, whatever else is wrong with what it raised."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from dispatching import dispatching, start
from rig import QUICK, Rig
from waiting import GIVE_UP

import zart
from zart.dispatcher import outcomes
from zart.dispatcher.in_hand import InHand, in_hand_of, seconds_of
from zart.dispatcher.outcomes import completed, failed_with, is_rejection, rejected, released
from zart.testing.server import ServerUnderTest
from zart.v1 import dispatch_service_pb2 as pb

_YEAR = 366 * 86_400.0  # seconds: the longest delay that servers take


@pytest.fixture
def in_hand() -> InHand:
    (found,) = in_hand_of([pb.LeasedTask(task_id="1-1-1", lease_token=7)], 0.0)
    return found


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [
        (30, 30.0),
        (0.25, 0.25),
        (timedelta(hours=1), 3600.0),
        (-5, 0.0),
        (timedelta(days=-400), 0.0),
        (_YEAR, _YEAR),
        (1e12, _YEAR),
        (timedelta.max, _YEAR),
        (float("inf"), _YEAR),
    ],
)
def test_a_delay_that_servers_do_not_take_is_the_nearest_that_they_do(
    in_hand: InHand, retry_after: float | timedelta, seconds: float
) -> None:
    outcome = failed_with(in_hand, zart.StepFailed("busy", retry_after=retry_after))
    assert seconds_of(outcome.failed.retry_after) == seconds


@pytest.mark.parametrize("retry_after", [None, float("nan"), "soon", [5], 10**400])
def test_what_is_no_delay_leaves_it_to_the_backoff(in_hand: InHand, retry_after: Any) -> None:
    raised = zart.StepFailed("declined", retryable=False, retry_after=retry_after)
    failed = failed_with(in_hand, raised).failed
    assert (failed.error.type, failed.error.message) == ("StepFailed", "declined")
    assert not failed.retryable
    assert not failed.HasField("retry_after")


class Declined(zart.StepFailed):
    """A step's own failure, whose fields are its own as well."""

    retryable = False

    def __init__(self, code: int) -> None:
        self.code = code

    def __str__(self) -> str:
        return f"declined with {self.code}"


class Unspeakable(zart.StepFailed):
    """One that breaks whoever asks what it says."""

    def __str__(self) -> str:
        raise LookupError("no words")


def test_a_failure_for_good_stays_one_whatever_its_other_fields_hold(in_hand: InHand) -> None:
    details: Any = {"code": 5}
    unspeakable: Any = Unspeakable("x")
    for raised, told in (
        (
            zart.StepFailed("x", retryable=False, details=details),
            ("StepFailed", "x", "{'code': 5}"),
        ),
        (Declined(5), ("Declined", "declined with 5", "")),
        (Unspeakable("x", retryable=False), ("Unspeakable", "its text cannot be told", "")),
        (
            zart.StepFailed("x", retryable=False, details=unspeakable),
            ("StepFailed", "x", "its text cannot be told"),
        ),
    ):
        failed = failed_with(in_hand, raised).failed
        assert not failed.retryable
        assert (failed.error.type, failed.error.message) == told[:2]
        assert failed.error.details.startswith(told[2] or type(raised).__module__ + ".")


class Mute(Exception):
    """One that raises another one of its kind in whoever asks what it says."""

    def __str__(self) -> str:
        raise Mute


class Deadly(BaseException):
    """One that ends whoever asks what it says."""

    def __str__(self) -> str:
        raise Deadly


async def is_mute(_: zart.StepContext) -> None:
    raise Mute


async def is_deadly(_: zart.StepContext) -> None:
    raise Deadly


def is_deadly_in_a_thread(_: zart.StepContext) -> None:
    raise Deadly


@pytest.mark.parametrize(
    ("handler", "kind"),
    [(is_mute, "Mute"), (is_deadly, "Deadly"), (is_deadly_in_a_thread, "Deadly")],
)
async def test_an_attempt_is_told_whose_error_breaks_whoever_tells_it(
    rig: Rig, zart_server: ServerUnderTest, handler: Any, kind: str
) -> None:
    task = zart.Task("t")
    task.step(name="a", retry=zart.Retry(max_attempts=1))(handler)
    async with dispatching(zart_server, task):
        await (await start(rig, task)).run(timeout=GIVE_UP)
    (attempt,) = (await rig.client.get_step("x", "a")).attempts
    assert attempt.error is not None
    assert (attempt.error.type, attempt.error.message) == (kind, "its text cannot be told")


async def test_a_step_that_says_it_is_hopeless_is_not_tried_again(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    task = zart.Task("t")
    details: Any = {"code": 5}

    @task.step(name="async")
    async def declined(_: zart.StepContext) -> None:
        raise zart.StepFailed("declined", retryable=False, details=details)

    @task.step(name="plain")
    def declined_in_a_thread(_: zart.StepContext) -> None:
        raise Declined(5)

    async with dispatching(zart_server, task):
        run = await (await start(rig, task)).run(timeout=GIVE_UP)
    assert run.status == "FAILED"
    for name in ("async", "plain"):
        step = await rig.client.get_step("x", name)
        assert (step.status, len(step.attempts)) == ("DEAD", 1)


async def test_a_step_whose_delay_has_passed_is_repeated_at_once_and_has_its_own_error(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    task = zart.Task("t")

    @task.step(name="a", retry=zart.Retry(max_attempts=2, initial_backoff=60.0))
    async def busy(ctx: zart.StepContext) -> int:
        if ctx.attempt == 1:
            raise zart.StepFailed("busy", retry_after=-5)
        return ctx.attempt

    async with dispatching(zart_server, task):
        assert await (await start(rig, task)).result(timeout=GIVE_UP) == 2
    first, _ = (await rig.client.get_step("x", "a")).attempts
    assert first.error is not None
    assert (first.error.type, first.error.message) == ("StepFailed", "busy")


@pytest.mark.parametrize("retryable", [True, False])
def test_a_failure_that_is_rejected_keeps_its_error_and_loses_its_delay(
    in_hand: InHand, *, retryable: bool
) -> None:
    raised = zart.StepFailed("busy", retry_after=30, retryable=retryable, details="told")
    outcome = rejected(in_hand, failed_with(in_hand, raised), "a year at most")
    error = outcome.failed.error
    assert (error.type, error.details) == ("StepFailed", "told")
    assert error.message.startswith("busy (")
    assert "a year at most" in error.message
    assert outcome.failed.retryable == retryable
    assert not outcome.failed.HasField("retry_after")
    assert not is_rejection(outcome)

    last = rejected(in_hand, outcome, "still not")
    assert is_rejection(last)
    assert (last.failed.error.message, last.failed.retryable) == ("still not", retryable)


def test_a_result_that_is_rejected_is_a_failure_for_good(in_hand: InHand) -> None:
    outcome = rejected(in_hand, completed(in_hand, "x"), "it cannot be stored")
    assert is_rejection(outcome)
    assert not outcome.failed.retryable


def test_a_task_given_back_that_is_rejected_is_given_back_without_its_delay(
    in_hand: InHand,
) -> None:
    given = released(in_hand, 5.0)
    outcome = rejected(in_hand, given, "a year at most")
    given.released.ClearField("retry_after")
    assert outcome == given
    assert outcome.released.not_begun

    last = rejected(in_hand, outcome, "still not")
    assert is_rejection(last)
    assert last.failed.retryable


async def test_a_step_is_repeated_whose_delay_a_server_does_not_take(
    rig: Rig, zart_server: ServerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one of a later version might take less than this dispatcher knows of."""
    monkeypatch.setattr(outcomes, "_LONGEST_DELAY", 2 * _YEAR)
    task = zart.Task("t")

    @task.step(name="a", retry=QUICK)
    async def busy(ctx: zart.StepContext) -> int:
        if ctx.attempt == 1:
            raise zart.StepFailed("busy", retry_after=2 * _YEAR)
        return ctx.attempt

    async with dispatching(zart_server, task):
        assert await (await start(rig, task)).result(timeout=GIVE_UP) == 2
    first, _ = (await rig.client.get_step("x", "a")).attempts
    assert first.error is not None
    assert first.error.type == "StepFailed"
    assert first.error.message.startswith("busy (its retry_after is left out")
    assert "failed.retry_after" in first.error.message
