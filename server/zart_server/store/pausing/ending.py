"""Ends pause rules, which stay as deleted ones: those of a scope, one, or those that expired."""

from __future__ import annotations

from collections.abc import Sequence

from zart_server.domain.commands import Caller
from zart_server.domain.model import PauseScope
from zart_server.store.breaking.closing import CLOSING
from zart_server.store.connection import Connection, Tx
from zart_server.store.pausing.released import is_releasing
from zart_server.store.pausing.rules import (
    LAST_LEASE,
    LISTED_EXEMPTIONS,
    MAX_EXEMPTIONS,
    RULE_COLUMNS,
    RuleRow,
    rule_columns,
)
from zart_server.store.statement import Statement

# Rules whose own fields equal every field of a scope.
_HAVING = """(:execution_id::text IS NULL OR execution_id = :execution_id)
    AND (:task_name::text IS NULL OR task_name = :task_name)
    AND (:step_pattern::text IS NULL OR step_pattern = :step_pattern)"""
# The rule named, releasing or not, or those whose own fields equal every field of a scope.
_PASSED_OVER = is_releasing("pause_rules.rule_key")
_WANTED = f"""(:rule_id::text IS NULL AND NOT {_PASSED_OVER} OR rule_id = :rule_id)
    AND {_HAVING}"""
_ACTIVE_KEYS = Statement(
    f"""
    SELECT rule_key FROM zart.pause_rules WHERE deleted_at IS NULL
        AND {_WANTED}
    ORDER BY rule_key
    """
)


def _wanted(rule_id: str | None, scope: PauseScope) -> dict[str, object]:
    return {"rule_id": rule_id} | _fields(scope)


def _fields(scope: PauseScope) -> dict[str, object]:
    return {
        "execution_id": scope.execution_id,
        "task_name": scope.task_name,
        "step_pattern": scope.step_pattern,
    }


async def active_rule_keys(
    connection: Connection, rule_id: str | None, scope: PauseScope
) -> list[int]:
    """Return active rules: the one named, or those whose fields equal every set field of scope.

    Of the latter those that are not releasing.
    """
    rows = await connection.fetch(
        _ACTIVE_KEYS.text, *_ACTIVE_KEYS.arguments(**_wanted(rule_id, scope))
    )
    return [row["rule_key"] for row in rows]


_FIND_ACTIVE = Statement(
    f"""
    SELECT {rule_columns("p")} FROM zart.pause_rules p WHERE deleted_at IS NULL
        AND (:releasing::boolean IS NULL OR :releasing = {is_releasing("p.rule_key")})
        AND {_HAVING}
    ORDER BY rule_key
    """
)


async def find_active(
    connection: Connection, scope: PauseScope, *, releasing: bool | None = None
) -> list[RuleRow]:
    """Return the rules that are not deleted whose own fields equal every set field of a scope."""
    values = _FIND_ACTIVE.arguments(releasing=releasing, **_fields(scope))
    rows = await connection.fetch(_FIND_ACTIVE.text, *values)
    return [RuleRow.from_row(row) for row in rows]


def _delete(which: str, exempt: int | str) -> Statement:
    text = f"""
    WITH deleted AS (
        UPDATE zart.pause_rules
        SET deleted_at = statement_timestamp(), deleted_by = :deleted_by,
            deleted_by_principal = :principal, expired = :expired,
            epoch = (SELECT epoch + 1 FROM zart.pause_epoch), token_until = {LAST_LEASE}
        WHERE deleted_at IS NULL AND rule_key = ANY(ARRAY(
            SELECT rule_key FROM zart.pause_rules WHERE deleted_at IS NULL AND ({which})
            ORDER BY rule_key FOR NO KEY UPDATE))
        RETURNING {RULE_COLUMNS}
    ), undone AS (
        DELETE FROM zart.pause_work w USING deleted
        WHERE w.rule_key = deleted.rule_key AND (work = 'settle' OR w.execution_id <> '')
    ), releases AS (
        UPDATE zart.pause_releases r SET ended_at = statement_timestamp() FROM deleted
        WHERE r.rule_key = deleted.rule_key AND r.ended_at IS NULL
    ), canaries AS (
        DELETE FROM zart.pause_canaries c USING deleted WHERE c.rule_key = deleted.rule_key
    ), work AS (
        INSERT INTO zart.pause_work (rule_key, work) SELECT rule_key, 'release' FROM deleted
    ), epoch AS (
        UPDATE zart.pause_epoch SET epoch = epoch + 1 WHERE EXISTS (SELECT FROM deleted)
    ), {CLOSING}
    SELECT {rule_columns("deleted", exempt)} FROM deleted ORDER BY rule_key
    """
    tables = (
        "pause_rules",
        "pause_work",
        "pause_releases",
        "pause_canaries",
        "pause_epoch",
        "breakers",
    )
    return Statement(text, locks=tables)


_HAS_EXPIRED = "deleted_at IS NULL AND expires_at <= statement_timestamp()"
_DELETE = _delete(_WANTED, ":exempt::bigint")
_DELETE_EXPIRED = _delete("rule_key = ANY(:rule_keys::bigint[])", exempt=0)


async def delete_rules(
    tx: Tx, rule_id: str | None, scope: PauseScope, caller: Caller
) -> list[RuleRow]:
    """Delete (softly) the rules that ``active_rule_keys`` finds; their steps are to be released.

    Closes their breakers, on record. Those of a scope are returned with as many exemptions as in a
    list. The caller holds the pause lock exclusively.
    """
    exempt = LISTED_EXEMPTIONS if rule_id is None else MAX_EXEMPTIONS
    values = _wanted(rule_id, scope) | _deleting(caller, expired=False) | {"exempt": exempt}
    rows = await tx.fetch(_DELETE.text, *_DELETE.arguments(**values))
    return [RuleRow.from_row(row) for row in rows]


def _deleting(caller: Caller, *, expired: bool) -> dict[str, object]:
    return {
        "deleted_by": caller.triggered_by,
        "principal": caller.principal,
        "closed_for": caller.reason,
        "request_id": caller.request_id,
        "incident": caller.incident,
        "expired": expired,
    }


async def count_expired(connection: Connection, limit: int) -> int:
    """Count the rules that have expired by the database's clock, up to a limit; locks nothing."""
    count: int = await connection.fetchval(
        # In the order of the index that is meant, or another one may look as cheap.
        f"SELECT count(*) FROM (SELECT FROM zart.pause_rules WHERE {_HAS_EXPIRED}"
        " ORDER BY expires_at LIMIT $1) due",
        limit,
    )
    return count


async def find_expired(tx: Tx, limit: int) -> list[RuleRow]:
    """Return rules that have expired by the database's clock, but not what they exempt.

    Those whose time was up first. The caller holds the pause lock exclusively.
    """
    rows = await tx.fetch(
        f"SELECT {rule_columns('p', exempt=0)} FROM zart.pause_rules p"
        f" WHERE {_HAS_EXPIRED} ORDER BY expires_at LIMIT $1",
        limit,
    )
    return [RuleRow.from_row(row) for row in rows]


async def delete_expired(tx: Tx, rule_keys: Sequence[int], caller: Caller) -> None:
    """Delete rules that have expired, as ``delete_rules`` does.

    The caller holds the pause lock exclusively.
    """
    values = _deleting(caller, expired=True) | {"rule_keys": rule_keys}
    await tx.execute(_DELETE_EXPIRED.text, *_DELETE_EXPIRED.arguments(**values))
