"""Since when nothing that a rule withholds is in flight, as it is stored.

Nothing is locked between a look at the leases and what is written by it. What is in flight of an
active rule only ends, unless the rule lets something go; whoever has it do so counts that in
``undrained``, and what was seen before is not written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from zart_server.store.connection import Connection, Tx
from zart_server.store.pausing.counting import InFlight
from zart_server.store.statement import Statement


@dataclass(frozen=True, slots=True)
class DrainedRule:
    """A rule that was found to be drained; ``is_first``: for the first time."""

    rule_id: str
    execution_id: str | None
    task_name: str | None
    incident: str
    is_first: bool


_WRITE = Statement(
    """
    WITH picked AS MATERIALIZED (
        SELECT d.* FROM unnest(:rule_keys::bigint[], :undrained::integer[]) u(key, seen)
        CROSS JOIN LATERAL (
            SELECT rule_key, is_recorded FROM zart.pause_drains
            WHERE rule_key = u.key AND undrained = u.seen AND drained_at IS NULL
            FOR UPDATE SKIP LOCKED) d
        WHERE (SELECT deleted_at FROM zart.pause_rules r WHERE r.rule_key = d.rule_key) IS NULL
    ), drained AS (
        UPDATE zart.pause_drains SET drained_at = statement_timestamp(), is_recorded = true
        WHERE rule_key = ANY(ARRAY(SELECT rule_key FROM picked))
    )
    SELECT r.rule_id, r.execution_id, r.task_name, r.incident, NOT p.is_recorded
    FROM picked p CROSS JOIN LATERAL (
        SELECT * FROM zart.pause_rules WHERE rule_key = p.rule_key OFFSET 0) r
    ORDER BY p.rule_key
    """,
    locks=("pause_drains, passing over locked rows",),
)


async def write_drained(tx: Tx, seen: Sequence[InFlight]) -> list[DrainedRule]:
    """Note that rules are drained of which nothing was seen to be in flight.

    Not those of which another transaction writes the same, or that have let something go since, or
    have ended.
    """
    rows = await tx.fetch(
        _WRITE.text,
        *_WRITE.arguments(
            rule_keys=[rule.rule_key for rule in seen], undrained=[rule.undrained for rule in seen]
        ),
    )
    return [DrainedRule(*row) for row in rows]


async def forget_drains(connection: Connection, rule_keys: Sequence[int]) -> None:
    """Drop what was awaited of rules that were deleted before they were drained."""
    await connection.execute(
        "DELETE FROM zart.pause_drains WHERE rule_key = ANY($1::bigint[]) AND drained_at IS NULL",
        rule_keys,
    )


async def undrain(tx: Tx, *rule_keys: int) -> None:
    """Note that rules let something go, or withhold again what may be in flight.

    To be called in the transaction that does so, under the pause lock. A rule that has ended keeps
    the time at which it was drained.
    """
    await tx.execute(
        """
        UPDATE zart.pause_drains SET drained_at = NULL, undrained = undrained + 1
        WHERE rule_key = ANY(ARRAY(
            SELECT rule_key FROM zart.pause_drains d WHERE rule_key = ANY($1::bigint[])
              AND (SELECT deleted_at FROM zart.pause_rules r WHERE r.rule_key = d.rule_key) IS NULL
            ORDER BY rule_key FOR UPDATE))
        """,
        rule_keys,
    )
