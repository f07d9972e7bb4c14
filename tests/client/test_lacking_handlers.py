"""Steps whose handler their own task does not have here, though another task of the dispatcher has."""

from __future__ import annotations

import pytest
from client.test_attempts import leased, told_of
from dispatching import dispatching, registered
from explaining import why
from rig import QUICK, Rig, eventually, specs

import zart
from zart.testing.server import ServerUnderTest

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
                f"not due before attempt {before + 1}: 0 of 3 that count are used;"
                " one that was given back does not count"
            )
            await rig.db.execute("UPDATE zart.queue SET not_before = now()")

    (told,) = [record for record in caplog.records if "given back" in record.message]
    assert told.message == (
        "steps are given back, a repeat follows:"
        " order/notify: this dispatcher has no handler notify of order"
    )
    assert (vars(told)["execution_id"], vars(told)["attempt"]) == ("x", 1)


@pytest.mark.parametrize(
    ("attempt", "delay"), [(1, 5), (2, 10), (6, 160), (7, 300), (2_000_000_000, 300)]
)
async def test_the_delay_has_an_end(attempt: int, delay: int) -> None:
    in_hand = leased()
    in_hand.task.handler, in_hand.task.attempt = "b", attempt

    found = await told_of(in_hand, [])

    assert found.released.not_begun
    assert found.released.retry_after.ToSeconds() == delay
