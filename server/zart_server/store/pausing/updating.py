"""Changes an active rule: which executions it exempts, and when it ends."""

from __future__ import annotations

from collections.abc import Sequence

from zart_server.domain.commands import Expiry
from zart_server.store.connection import Connection, Tx
from zart_server.store.pausing.rules import LAST_LEASE
from zart_server.store.statement import Statement

# Work that was left for the opposite is undone: what is moved so far is moved back by the new one.
# There is none of executions that the rule does not match anyway, as it names another.
_UPDATE = Statement(
    f"""
    WITH rule AS (
        UPDATE zart.pause_rules SET epoch = (SELECT epoch + 1 FROM zart.pause_epoch),
            expires_at = CASE WHEN :keeps_expiry THEN expires_at
                ELSE COALESCE(:at::timestamptz, statement_timestamp() + :after::interval) END
        WHERE rule_key = :rule_key AND deleted_at IS NULL
          AND (:at::timestamptz IS NULL OR :at::timestamptz > statement_timestamp())
        RETURNING rule_key, execution_id
    ), removed AS (
        UPDATE zart.pause_exemptions x SET token_until = {LAST_LEASE}
        WHERE x.rule_key = (SELECT rule_key FROM rule) AND x.token_until IS NULL
          AND x.execution_id = ANY(:removed::text[])
    ), added AS (
        INSERT INTO zart.pause_exemptions (rule_key, execution_id, token_from)
        SELECT rule_key, id, {LAST_LEASE} FROM rule, unnest(:added::text[]) id
        ON CONFLICT (rule_key, execution_id, token_from) DO UPDATE SET token_until = NULL
    ), undone AS (
        DELETE FROM zart.pause_work w USING rule WHERE w.rule_key = rule.rule_key
          AND w.execution_id = ANY(
            CASE work WHEN 'settle' THEN :added::text[] ELSE :removed::text[] END)
    ), work AS (
        INSERT INTO zart.pause_work (rule_key, work, execution_id)
        SELECT rule_key, w.work, w.id FROM rule, LATERAL (
            SELECT 'release' AS work, id FROM unnest(:added::text[]) id
            UNION ALL SELECT 'settle', id FROM unnest(:removed::text[]) id) w
        WHERE rule.execution_id IS NULL OR rule.execution_id = w.id
        ON CONFLICT DO NOTHING
    ), drains AS (
        UPDATE zart.pause_drains d SET drained_at = NULL, undrained = undrained + 1
        FROM rule WHERE d.rule_key = rule.rule_key AND :removed::text[] <> '{{}}'
    ), epoch AS (
        UPDATE zart.pause_epoch SET epoch = epoch + 1 WHERE EXISTS (SELECT FROM rule)
    )
    SELECT rule_key FROM rule
    """,
    locks=("pause_rules", "pause_exemptions", "pause_work", "pause_drains", "pause_epoch"),
)


async def update_rule(
    tx: Tx, rule_key: int, added: Sequence[str], removed: Sequence[str], expiry: Expiry | None
) -> bool:
    """Exempt executions, or match them again, and set when an active rule ends.

    ``added`` are not exempt yet, ``removed`` are. Return False, having changed nothing, if the rule
    would have expired already. The caller holds the pause lock exclusively.
    """
    at, after = expiry or Expiry()
    values = _UPDATE.arguments(
        rule_key=rule_key,
        added=added,
        removed=removed,
        keeps_expiry=expiry is None,
        at=at,
        after=after,
    )
    return await tx.fetchval(_UPDATE.text, *values) is not None


async def unknown_executions(
    connection: Connection, execution_ids: Sequence[str]
) -> dict[int, str]:
    """Return those of the ids that no execution has, by their place in the list."""
    rows = await connection.fetch(
        "SELECT n, id FROM unnest($1::text[]) WITH ORDINALITY u(id, n) WHERE NOT EXISTS ("
        " SELECT FROM zart.executions WHERE execution_id = u.id OFFSET 0)",
        execution_ids,
    )
    return {row["n"] - 1: row["id"] for row in rows}
