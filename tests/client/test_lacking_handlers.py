"""Steps whose handler their own task does not have here, though another task of the dispatcher has."""

from __future__ import annotations

import pytest
from client.test_attempts import leased, told_of
from dispatching import dispatching, registered
from explaining import why
from rig import QUICK, Rig, eventually, specs

import zart
from zart.dispatcher import lease_clock
from zart.dispatcher.in_hand import InHand
from zart.dispatcher.lacking import Lacking
from zart.testing.server import ServerUnderTest

HOUR = 3600.0
_DELAY = """
    SELECT round(extract(epoch FROM q.not_before - a.completed_at))::integer
    FROM zart.queue q JOIN zart.attempts a USING (run_key, step_no)
    WHERE a.status = 'released' AND q.attempt = a.attempt + 1 AND q.attempt = $1
"""


async def test_it_is_given_back_for_longer_each_time_and_told(
    rig: Rig, zart_server: ServerUnderTest, caplog: pytest.LogCaptureFixture
) -> None:
    """A run of an older ``order`` waits for ``notify``, which only ``refund`` still has."""
    order, refund = zart.Task("order"), zart.Task("refund")
    order.step(name="charge")(lambda _: None)
    refund.step(name="notify")(lambda _: None)

    async with dispatching(zart_server, order, refund):
        await registered(rig, "refund")
        old = specs({"notify": ()}, retry=QUICK)
        await rig.client.start("order", execution_id="x", steps=old)

        for before, delay in enumerate([5, 10, 20], 1):

            async def is_given_back(before: int = before, delay: int = delay) -> bool:
                return bool(await rig.db.fetchval(_DELAY, before + 1) == delay)

            await eventually(is_given_back)
            (cause,) = (await why(rig, "notify")).causes
            assert cause.kind == "BACKOFF"
            assert cause.text == (
                f"not due before attempt {before + 1}, with 0 of 3 used up:"
                " what was given back does not count"
            )
            await rig.db.execute("UPDATE zart.queue SET not_before = now()")

    (told,) = [record for record in caplog.records if "given back" in record.message]
    assert told.message == (
        "steps are given back, a repeat follows:"
        " order/notify: this dispatcher has no handler notify of order"
    )
    assert (vars(told)["execution_id"], vars(told)["attempt"]) == ("x", 1)


def given_back(run_id: str = "x:run:0", attempt: int = 1) -> InHand:
    in_hand = leased()
    in_hand.task.run_id, in_hand.task.handler, in_hand.task.attempt = run_id, "b", attempt
    return in_hand


async def test_the_first_time_counts_whatever_attempt_it_is() -> None:
    """A step that has failed six times, or was revived: another dispatcher may have its handler."""
    found = await told_of(given_back(attempt=7), [])

    assert found.released.not_begun
    assert found.released.retry_after.ToSeconds() == 5


def test_each_step_has_a_count_of_its_own_and_the_delay_an_end() -> None:
    lacking = Lacking()

    assert [lacking.delay(given_back()) for _ in range(9)] == [
        5,
        10,
        20,
        40,
        80,
        160,
        300,
        300,
        300,
    ]
    assert lacking.delay(given_back("y:run:0")) == 5
    assert lacking.delay(given_back()) == 300


def test_a_step_that_was_away_for_long_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    now, lacking = 0.0, Lacking()
    monkeypatch.setattr(lease_clock, "now", lambda: now)
    for _ in range(7):
        lacking.delay(given_back())
    now = 4 * HOUR  # by turns of many dispatchers that all lack it
    assert lacking.delay(given_back()) == 300
    assert lacking.delay(given_back("y:run:0")) == 5
    now += 23 * HOUR
    assert lacking.delay(given_back()) == 300
    now += 25 * HOUR

    assert lacking.delay(given_back()) == 5
    assert len(lacking._counted) == 1


def test_of_very_many_steps_the_oldest_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zart.dispatcher.lacking._MOST", 2)
    lacking = Lacking()
    runs = ["x:run:0", "y:run:0", "x:run:0", "z:run:0", "x:run:0", "y:run:0"]

    assert [lacking.delay(given_back(run)) for run in runs] == [5, 5, 10, 5, 20, 5]
    assert len(lacking._counted) == 2
