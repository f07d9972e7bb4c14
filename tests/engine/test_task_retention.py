"""What holds where servers are set to keep everything, and something else is set for a task."""

from __future__ import annotations

from datetime import timedelta

from retaining import sweep
from rig import Rig

from zart.testing.server import ServerUnderTest


async def test_each_pass_forgets_the_records_of_days_that_are_over(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    await rig.client.set_retention("t", timedelta(days=30))
    await rig.db.execute(
        "INSERT INTO zart.purge_records (day, task_name, caller) SELECT (statement_timestamp()"
        " AT TIME ZONE 'UTC')::date - ago, 't', '' FROM unnest(ARRAY[0, 3]) ago"
    )
    await sweep(zart_server)
    assert await rig.db.fetchval("SELECT count(*) FROM zart.purge_records") == 1
