"""Breakers count by the database's clock, which may go back: what it has yet to reach is no news."""

from __future__ import annotations

from breaking import breaker, fail, until, until_counted
from rig import Rig

WENT_BACK = """
    SET LOCAL zart.purge = 'on';
    UPDATE zart.attempts SET completed_at = completed_at + interval '10 minutes';
    UPDATE zart.breaker_counts SET second = second + interval '10 minutes';
    UPDATE zart.breaker_looks SET looked_at = looked_at + interval '10 minutes'
"""


async def test_what_failed_before_the_clock_went_back_does_not_count_as_failing_now(
    rig: Rig,
) -> None:
    """As that of a replica which is promoted, and was minutes behind."""
    breaker_id = await breaker(rig.client)
    await fail(rig, 2)
    await until_counted(rig.client, breaker_id, 2)
    await rig.db.execute(WENT_BACK)
    assert (await rig.client.get_breaker(breaker_id)).failures_in_window == 0

    await fail(rig, 2, "y")
    assert (await until_counted(rig.client, breaker_id, 2)).status == "CLOSED"
    await fail(rig, 1, "z")
    await until(rig.client, breaker_id, "OPEN")
