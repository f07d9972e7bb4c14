"""A receipt is the same whatever the size of its pieces, and wherever the runs lie that it is of."""

from __future__ import annotations

from patient import patient_database
from rig import Rig

import zart
from zart_server.api.reading import Reading
from zart_server.api.verifying import Verifying

_GRAPH = {"a": (), "b": ("a",)}
_FAR = """
    SELECT setval(pg_get_serial_sequence('zart.runs', 'run_key'),
        (SELECT max(run_key) + 5000 FROM zart.runs))
"""
# Too long ago for any rule that came since.
_LONG_OVER = """
    BEGIN; SET LOCAL zart.purge = 'on';
    UPDATE zart.runs SET created_at = created_at - interval '1 hour',
        completed_at = completed_at - interval '1 hour';
    COMMIT
"""
# Joined too long ago for the clock to have been set back since.
_BY_TIMES = "UPDATE zart.history SET joined_at = joined_at - interval '2 hours'"
# Leased all the same: what was leased after the rule's end now says that it was leased before.
_PLANTED = """
    BEGIN; SET LOCAL zart.purge = 'on';
    UPDATE zart.steps SET lease_token = (SELECT max(token_until) FROM zart.pause_rules)
    WHERE lease_token = (SELECT max(lease_token) FROM zart.steps);
    COMMIT
"""


async def _ran(rig: Rig, *names: str) -> None:
    for name in names:
        await rig.start(name, _GRAPH, retry=zart.Retry(3, 0.0))
        await rig.fail(await rig.lease_one("a", name), retryable=True)
        await rig.complete(await rig.lease_one("a", name))
        await rig.complete(await rig.lease_one("b", name))


async def test_a_receipt_is_the_same_by_pieces_of_any_size(rig: Rig, zart_database: str) -> None:
    await _ran(rig, "old", "older")
    await rig.db.execute(_LONG_OVER)
    await _ran(rig, "before")
    await rig.db.execute(_FAR)
    await _ran(rig, "far")
    await rig.start("in flight", {"a": ()})
    task = await rig.lease_one("a", "in flight")
    rule_id = (await rig.client.pause(task_name="t")).rule_id
    await rig.complete(task)
    for exempt, unexempt in ((["x", "y"], []), ([], ["x"]), (["x"], [])):
        await rig.client.update_pause_rule(rule_id, exempt=exempt, unexempt=unexempt)
    await rig.db.execute(_FAR)
    await _ran(rig, "x", "y")
    await rig.start("late", _GRAPH)
    await rig.db.execute("SELECT nextval('zart.lease_tokens')")  # one that nobody has
    await rig.client.resume(rule_id=rule_id)
    for step in _GRAPH:
        await rig.complete(await rig.lease_one(step, "late"))
    await rig.db.execute(_PLANTED)

    db = await patient_database(zart_database, pool_size=1)
    async with db.transaction() as tx:
        await tx.execute(_BY_TIMES)
    found = [
        await Verifying(Reading(db, places=1), steps).verify(rule_id)
        for steps in (20_000, 1, 2, 3, 5)
    ]
    await db.close()

    first = found[0]
    assert (first.checked, first.in_flight_at_start, first.exempt) == (15, 1, 6)
    assert first.last_before is not None
    assert first.last_before.execution_id == "in flight"
    assert first.first_after is not None
    assert len(first.violations) == 1
    assert found == [first] * 5
