"""A receipt leaves out no run of its window by a clock that was set back: it then reads them all."""

from __future__ import annotations

import pytest
from rig import Rig

import zart
from zart.testing.server import serving

# Leased while the rule stood, in runs whose times say that they ended an hour before.
_SET_BACK = """
    UPDATE zart.steps SET lease_token = (SELECT token_until FROM zart.pause_rules);
    UPDATE zart.runs SET created_at = created_at - interval '1 hour',
        completed_at = completed_at - interval '1 hour';
"""
# The first server joins as it begins.
_LONG_AGO = "UPDATE zart.history SET joined_at = joined_at - interval '2 hours';"
_LATER = "SELECT created_at + interval '1 minute' FROM zart.pause_rules"
_SEEN_BY = {
    "a failover meanwhile": f"UPDATE zart.history SET joined_at = ({_LATER})",
    "a failover to a clock that was behind": "UPDATE zart.history SET joined_at = ("
    "SELECT created_at - interval '50 minutes' FROM zart.pause_rules)",
    "its end": "UPDATE zart.pause_rules SET deleted_at = created_at - interval '50 minutes'",
    "its beginning": "UPDATE zart.pause_rules SET created_at = created_at + interval '50 minutes',"
    " deleted_at = deleted_at + interval '50 minutes'",
}


async def _set_back(rig: Rig, *changes: str) -> str:
    """Have a rule that one step broke, by a clock that was set back; return its id."""
    paused = await rig.client.pause(task_name="t")
    await rig.db.execute("SELECT nextval('zart.lease_tokens')")
    await rig.client.resume(rule_id=paused.rule_id)
    await rig.start("x", {"a": ()})
    await rig.work()
    async with rig.db.transaction():
        await rig.db.execute("SET LOCAL zart.purge = 'on'")
        await rig.db.execute(_SET_BACK + _LONG_AGO)
        for change in changes:
            await rig.db.execute(change)
    return paused.rule_id


@pytest.mark.parametrize("how", _SEEN_BY)
async def test_all_runs_are_read_where_the_clock_may_have_been_set_back(rig: Rig, how: str) -> None:
    rule_id = await _set_back(rig, _SEEN_BY[how])

    receipt = await rig.client.verify_pause_rule(rule_id)

    assert (receipt.checked_attempts, receipt.is_complete) == (1, True)
    assert [violation.execution_id for violation in receipt.violations] == ["x"]


async def test_else_those_that_lived_about_it_are(rig: Rig) -> None:
    """By their times: to read all of them takes long."""
    rule_id = await _set_back(rig)

    receipt = await rig.client.verify_pause_rule(rule_id)

    assert (receipt.checked_attempts, receipt.clean) == (0, True)


@pytest.mark.parametrize("minutes", [30, 90])
async def test_what_was_purged_is_told_with_an_hour_to_spare(rig: Rig, minutes: int) -> None:
    rule_id = await _set_back(rig, _SEEN_BY["its end"])
    await rig.db.execute(
        "INSERT INTO zart.purged_runs (task_name, lives) SELECT 't', tstzmultirange("
        "tstzrange(deleted_at - interval '2 hours', deleted_at - $1 * interval '1 minute', '[]'))"
        " FROM zart.pause_rules",
        minutes,
    )

    receipt = await rig.client.verify_pause_rule(rule_id)

    assert receipt.is_complete == (minutes > 60)


async def test_another_history_is_joined_not_the_same_one_again(
    rig: Rig, zart_database: str
) -> None:
    """Else each receipt of a rule that was added about a deploy had to read all runs."""
    await rig.client.list_pause_rules()  # by a session, which has joined
    joined, last_token = "SELECT joined_at FROM zart.history", "SELECT zart.last_token()"
    before, token = await rig.db.fetchval(joined), await rig.db.fetchval(last_token)
    await _serve_once(zart_database)
    assert await rig.db.fetchval(joined) == before
    assert await rig.db.fetchval(last_token) > token
    await rig.db.execute("UPDATE zart.history SET name = 'of another host'")
    await _serve_once(zart_database)
    assert await rig.db.fetchval(joined) > before


async def _serve_once(zart_database: str) -> None:
    with serving(zart_database) as server:
        async with zart.connect(server.address) as client:
            await client.list_pause_rules()
