"""A receipt says that nobody knows where commits may have been lost while the rule stood."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from rig import Rig

import zart
from zart.testing.server import serving

_LOSSES = "SELECT last_token FROM zart.possible_losses"
# A name: the timeline, the PostgreSQL, the database, its table, and when PostgreSQL was started.
_PART = """
    UPDATE zart.history SET name = (SELECT string_agg(
            CASE n WHEN $1 THEN $2 ELSE part END, '-' ORDER BY n)
        FROM string_to_table(name, '-') WITH ORDINALITY t(part, n))
"""
_OTHERS = {
    "a failover": (1, "00000009"),
    "another PostgreSQL": (2, "7"),
    "another database": (3, "7"),
    "restored in its place": (4, "7"),
}
_STARTED_BEFORE = (5, "20200131T235959.123456")


async def _join(rig: Rig, zart_database: str, other: tuple[int, str]) -> None:
    """Have the history on record be another one, and a server begin that joins this one."""
    await rig.db.execute(_PART, *other)
    await _serve_once(zart_database)


async def _serve_once(zart_database: str) -> None:
    with serving(zart_database) as server:
        async with zart.connect(server.address) as client:
            await client.list_pause_rules()


async def _gaps(rig: Rig, *rules: zart.models.Paused) -> Sequence[tuple[str, ...]]:
    return [(await rig.client.verify_pause_rule(rule.rule_id)).gaps for rule in rules]


@pytest.mark.parametrize("how", _OTHERS)
async def test_a_rule_that_stood_then_is_not_proven(rig: Rig, zart_database: str, how: str) -> None:
    over = await rig.client.pause(task_name="t")
    await rig.start("x", {"a": ()})
    await rig.client.resume(rule_id=over.rule_id)
    await rig.work()  # so that tokens lie between
    stood = await rig.client.pause(task_name="t")
    stands = await rig.client.pause(task_name="t")
    just_over = await rig.client.pause(task_name="t")
    await rig.client.resume(rule_id=just_over.rule_id)

    await _join(rig, zart_database, _OTHERS[how])
    later = await rig.client.pause(task_name="t")
    await rig.client.resume(rule_id=stood.rule_id)

    lost = ("MAY_LACK_COMMITS",)
    assert await _gaps(rig, over, just_over, stood, stands, later) == [(), (), lost, lost, ()]
    receipt = await rig.client.verify_pause_rule(stood.rule_id)
    assert (receipt.clean, receipt.is_complete, receipt.violations) == (False, False, ())
    with pytest.raises(zart.errors.PauseUnproven, match="what was leased shortly before may be"):
        receipt.raise_unless_clean()


async def test_it_is_not_forgotten_once_another_history_is_joined(
    rig: Rig, zart_database: str
) -> None:
    stood = await rig.client.pause(task_name="t")
    await _join(rig, zart_database, _OTHERS["a failover"])
    await rig.client.resume(rule_id=stood.rule_id)
    between = await rig.client.pause(task_name="t")
    await rig.client.resume(rule_id=between.rule_id)
    await _join(rig, zart_database, _OTHERS["another PostgreSQL"])

    assert await _gaps(rig, stood, between) == [("MAY_LACK_COMMITS",), ()]
    assert len(await rig.db.fetch(_LOSSES)) == 2


async def test_a_name_of_before_this_was_told_may_be_of_another_place(
    rig: Rig, zart_database: str
) -> None:
    """As at the upgrade, and at a failover to a standby that lacks it."""
    stood = await rig.client.pause(task_name="t")
    await rig.db.execute(
        "UPDATE zart.history SET name = split_part(name, '-', 1) || '-' || split_part(name, '-', 5)"
    )

    await _serve_once(zart_database)

    assert await _gaps(rig, stood) == [("MAY_LACK_COMMITS",)]


async def test_the_same_postgresql_started_again_lacks_nothing(
    rig: Rig, zart_database: str
) -> None:
    stood = await rig.client.pause(task_name="t")
    token = await rig.db.fetchval("SELECT zart.last_token()")

    await _join(rig, zart_database, _STARTED_BEFORE)
    await _serve_once(zart_database)  # nor does a server

    assert await rig.db.fetchval("SELECT zart.last_token()") > token  # drawn anew all the same
    assert await rig.db.fetch(_LOSSES) == []
    assert await _gaps(rig, stood) == [()]


async def test_where_no_timeline_is_told_a_start_may_be_a_failover(
    rig: Rig, zart_database: str
) -> None:
    """Some managed databases have no WAL to be asked for: a function says so here, as theirs does."""
    await rig.db.execute(
        "CREATE FUNCTION zart.pg_walfile_name(pg_lsn) RETURNS text LANGUAGE plpgsql AS"
        " $$BEGIN RAISE EXCEPTION 'none' USING ERRCODE = 'feature_not_supported'; END$$;"
        " ALTER FUNCTION zart.join_history(boolean) SET search_path = zart, pg_catalog"
    )
    await _serve_once(zart_database)
    stood = await rig.client.pause(task_name="t")
    await _serve_once(zart_database)
    assert await _gaps(rig, stood) == [()]

    await _join(rig, zart_database, _STARTED_BEFORE)

    assert await _gaps(rig, stood) == [("MAY_LACK_COMMITS",)]
