"""Probes are told from what was let go before by the database's clock, which may go back."""

from __future__ import annotations

from breaking import probe, tripped, until
from rig import Rig

import zart

WENT_BACK = """
    UPDATE zart.breakers SET half_open_at = half_open_at + interval '10 minutes';
    UPDATE zart.released_steps SET released_at = released_at + interval '10 minutes'
"""


async def test_a_clock_that_went_back_lets_no_more_steps_try(rig: Rig) -> None:
    """As that of a replica which is promoted, and was minutes behind."""
    breaker_id = await tripped(rig, 5)
    first = await probe(rig)
    await rig.db.execute(WENT_BACK)
    await rig.report(zart.Outcome(first.task_id, first.lease_token, zart.Released()))

    second = await probe(rig)  # in its place

    await rig.complete(second)
    await until(rig.client, breaker_id, "CLOSED")
    assert (first.execution_id, second.execution_id) == ("x-0", "x-1")
    assert await rig.db.fetchval("SELECT count(*) FROM zart.released_steps") == 2
