"""Pause work: the rules whose steps a pause sweep still has to pause or to release."""

from __future__ import annotations

from zart_server.store.connection import Connection, Tx

_MOVES_LOCK = 0x7A61_7274


async def pause_work(connection: Connection) -> list[tuple[int, str]]:
    """Return the pause work left, oldest rule first: (rule key, 'settle' or 'release')."""
    rows = await connection.fetch(
        "SELECT rule_key, work FROM zart.pause_work ORDER BY rule_key LIMIT 1000"
    )
    return [(row["rule_key"], row["work"]) for row in rows]


async def end_settling(connection: Connection, rule_key: int) -> None:
    """Note that a rule is settled, unless it was deleted meanwhile."""
    await connection.execute(
        "DELETE FROM zart.pause_work WHERE rule_key = $1 AND work = 'settle'", rule_key
    )


async def end_releases(tx: Tx) -> None:
    """Note which deleted rules have no paused steps left; they will have none again.

    The caller holds the pause lock shared.
    """
    await tx.execute(
        "DELETE FROM zart.pause_work w WHERE work = 'release' AND ("
        "SELECT rule_key FROM zart.held h WHERE h.rule_key = w.rule_key"
        " ORDER BY not_before, queue_no LIMIT 1) IS NULL"
    )


async def has_rule_to_itself(tx: Tx, rule_key: int) -> bool:
    """Return whether this is the only transaction that moves steps for a rule; lock that if so."""
    is_alone: bool = await tx.fetchval(
        "SELECT pg_try_advisory_xact_lock($1, $2)", _MOVES_LOCK, rule_key % 2**31
    )
    return is_alone
