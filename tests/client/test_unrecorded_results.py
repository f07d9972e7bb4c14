"""A handler that returned what cannot be recorded: if it is not to run twice, it is in doubt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from dispatching import dispatching, start
from rig import Rig
from waiting import GIVE_UP, eventually

import zart
from zart.dispatcher.in_hand import InHand, in_hand_of
from zart.dispatcher.outcomes import completed, lost, rejected
from zart.models import InDoubtAttempt
from zart.testing.server import ServerUnderTest
from zart.v1 import dispatch_service_pb2 as pb

RETRY = zart.Retry(max_attempts=3, initial_backoff=0.0)
LARGE = "x" * 2_000_000


class Unwritable(dict[str, int]):
    """What breaks whoever writes it."""

    def items(self) -> Any:
        raise LookupError("no items")


RESULTS = {
    "decimal": (Decimal(17), "ResultNotJson", "it returned a Decimal, which is not JSON"),
    "unwritable": (Unwritable(a=1), "ResultNotJson", "no items"),
    "large": (LARGE, "ResultTooLarge", "it returned 2000002 bytes"),
    "refused": ("\x00", "OutcomeRejected", "it returned what cannot be recorded"),
}


class Returning:
    """A task whose steps return these results, each in two kinds of functions."""

    def __init__(self, **options: Any) -> None:
        self.task = zart.Task("t")
        self.called: Counter[str] = Counter()
        for name, (result, *_) in RESULTS.items():
            for kind, made in (("async", self._awaited), ("plain", self._plain)):
                self.task.step(name=f"{name}-{kind}", retry=RETRY, **options)(made(result))

    def _awaited(self, result: object) -> Callable[[zart.StepContext], Any]:
        async def handler(ctx: zart.StepContext) -> object:
            self.called[ctx.step_name] += 1
            return result

        return handler

    def _plain(self, result: object) -> Callable[[zart.StepContext], Any]:
        def handler(ctx: zart.StepContext) -> object:
            self.called[ctx.step_name] += 1
            return result

        return handler


def error_of(step_name: str) -> tuple[str, str]:
    """Return the type of the error that is told of a step, and a part of its text."""
    _, kind, text = RESULTS[step_name.partition("-")[0]]
    return kind, text


async def test_of_a_step_that_is_not_to_run_twice_it_is_in_doubt_and_tells_why_later(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    returning = Returning(once=True)
    found: list[InDoubtAttempt] = []

    async def is_all_told() -> bool:
        found[:] = [each async for each in rig.client.list_in_doubt()]
        told = [each.late_outcome for each in found if each.late_outcome is not None]
        return len([each for each in told if each.status == "FAILED"]) == len(returning.task.steps)

    async with dispatching(zart_server, returning.task):
        assert (await (await start(rig, returning.task)).run(timeout=GIVE_UP)).status == "FAILED"
        await eventually(is_all_told)

    assert returning.called == dict.fromkeys(returning.task.steps, 1)
    for each in found:
        assert each.ended_as == "LOST"
        assert each.late_outcome is not None
        assert each.late_outcome.error is not None
        kind, text = error_of(each.step_name)
        assert each.late_outcome.error.type == kind
        assert text in each.late_outcome.error.message
        with pytest.raises(zart.errors.StepInDoubt):
            await rig.client.retry_step("x", each.step_name)


async def test_any_other_step_has_failed_for_good(rig: Rig, zart_server: ServerUnderTest) -> None:
    returning = Returning()
    async with dispatching(zart_server, returning.task):
        handle = await start(rig, returning.task)
        await handle.run(timeout=GIVE_UP)
    assert returning.called == dict.fromkeys(returning.task.steps, 1)
    for step in (await handle.state()).steps:
        (attempt,) = step.attempts
        assert (step.status, attempt.status) == ("DEAD", "FAILED")
        assert attempt.error is not None
        kind, text = error_of(step.step_name)
        assert attempt.error.type == kind
        assert text in attempt.error.message


async def test_in_process_it_says_so_as_well() -> None:
    task = zart.Task("t")
    task.step(name="charge", once=True, retry=RETRY)(lambda _: Decimal(17))
    with pytest.raises(zart.RunFailed, match="charge: it returned a Decimal, which is not JSON"):
        await zart.testing.run(task)


@pytest.fixture
def in_hand() -> InHand:
    (found,) = in_hand_of([pb.LeasedTask(task_id="1-1-1", lease_token=7)], 0.0)
    found.runs_once = True
    return found


def test_a_result_that_is_rejected_is_lost_first(in_hand: InHand) -> None:
    outcome = rejected(in_hand, completed(in_hand, "x"), "it cannot be stored")
    assert outcome == lost(in_hand)
    assert in_hand.late is not None
    assert in_hand.late.failed.error.type == "OutcomeRejected"
    assert not in_hand.late.failed.retryable


def test_an_error_without_words_and_with_unwritable_ones_is_told(in_hand: InHand) -> None:
    class Wordless(dict[str, int]):
        def items(self) -> Any:
            raise MemoryError

    class Broken(dict[str, int]):
        def items(self) -> Any:
            raise LookupError("\ud800")

    for result, words in ((Wordless(a=1), "MemoryError"), (Broken(a=1), "?")):
        failed = completed(in_hand, result).failed
        assert not failed.retryable
        assert failed.error.type == "ResultNotJson"
        assert failed.error.message.endswith(words)
