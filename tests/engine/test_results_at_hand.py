"""Handlers are given what this server has recorded of late, without a look at it."""

from __future__ import annotations

from engine.test_eager_dispatch import report
from rig import DIAMOND, Rig

from zart.models import LeasedTask

# No result ever changes; that one that was changed is not seen tells that nobody looked.
CHANGED = """
    SET LOCAL zart.purge = 'on';
    UPDATE zart.steps SET result = '"changed"' WHERE status = 'completed' AND result::text = '"b"'
"""


async def split(rig: Rig) -> list[LeasedTask]:
    """Return the two steps of a diamond before the last, leased."""
    await rig.start("x", DIAMOND)
    await rig.complete(await rig.lease_one("a"))
    return await rig.lease()


async def test_a_step_that_was_queued_is_given_what_was_recorded_here(rig: Rig) -> None:
    await rig.complete(*await split(rig))
    await rig.db.execute(CHANGED)
    (join,) = await rig.lease()

    assert dict(join.upstream) == {"b": "b", "c": "c"}


async def test_a_join_is_leased_with_what_was_recorded_here(rig: Rig) -> None:
    b, c = await split(rig)
    await report(rig, b)
    await rig.db.execute(CHANGED)
    (join,) = (await report(rig, c)).tasks

    assert dict(join.upstream_json) == {"b": '"b"', "c": '"c"'}


async def test_what_an_operator_gave_is_what_handlers_are_given(rig: Rig) -> None:
    """The attempt in flight reports all the same, and is not recorded."""
    b, c = await split(rig)
    await rig.client.complete_step("x", "b", "operator", fence=True)
    assert await rig.complete(b, c) == ["LEASE_LOST", "RECORDED"]
    (join,) = await rig.lease()

    assert dict(join.upstream) == {"b": "operator", "c": "c"}


async def test_a_step_that_died_is_given_on_as_the_attempt_that_completed_it_told(rig: Rig) -> None:
    b, c = await split(rig)
    await rig.fail(b)
    await rig.complete(c)
    await rig.client.retry_step("x", "b")
    await rig.complete(*await rig.lease(), result="again")
    (join,) = await rig.lease()

    assert dict(join.upstream) == {"b": "again", "c": "c"}
