"""Work in the background that fails by its time limit fails seldom: it is told for how long."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from metrics.scraping import scraped_with_database
from rig import Rig
from waiting import eventually, until

from zart.testing.server import ServerUnderTest, serving
from zart_server.engine.background.loop import WAITS


@pytest.fixture
def zart_server(zart_database: str) -> Iterator[ServerUnderTest]:
    """A server whose statements may take half a second."""
    with serving(zart_database, metrics_listen="127.0.0.1:0", statement_timeout=0.5) as server:
        yield server


async def test_steps_that_cannot_be_moved_back_in_time_are_told(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    """They go back once the database is as fast again."""
    sweeps = zart_server.running.runtime.sweeps
    rule = await rig.client.pause(task_name="t")
    for name in ("x", "y"):
        await rig.start(name, {"a": ()})
    await rig.db.execute(
        "CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_sleep(600); RETURN NULL; END $$"
    )
    await rig.db.execute(
        "CREATE TRIGGER slow BEFORE DELETE ON zart.held"
        " FOR EACH STATEMENT EXECUTE FUNCTION public.slow()"
    )
    await rig.client.resume(rule_id=rule.rule_id)
    await until(lambda: sweeps.failures[WAITS] > 2)
    found = await scraped_with_database(zart_server.running.metrics)
    assert found("zart_background_failing_seconds", loop=sweeps.name) > 0.9
    assert found("zart_oldest_ended_rule_age_seconds") > 0.9
    await rig.db.execute("DROP TRIGGER slow ON zart.held")

    async def is_moved() -> bool:
        return await rig.statuses("x") == await rig.statuses("y") == {"a": "SCHEDULED"}

    await eventually(is_moved)
