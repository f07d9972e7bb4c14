"""Reads pause rules, newest first."""

from __future__ import annotations

from zart_server.domain.commands import Page
from zart_server.domain.model import PauseRule, PauseScope
from zart_server.store.connection import Connection
from zart_server.store.pausing.rules import RuleRow

_LOOKED_AT = 5_000


def _statement(where: str, order: str) -> str:
    """Return the query that looks at rules in order, and gives those with all of a scope's fields.

    `until` is the last that was looked at if others follow.
    """
    return f"""
        WITH first AS MATERIALIZED (
            SELECT * FROM zart.pause_rules WHERE {where.format(rule="$1::bigint")}
            ORDER BY {order} DESC LIMIT {_LOOKED_AT}
        )
        SELECT r.*, until FROM (
            SELECT CASE count(*) WHEN {_LOOKED_AT} THEN min(rule_key) END AS until FROM first) e
        LEFT JOIN LATERAL (
            SELECT * FROM first
            WHERE ($3::text IS NULL OR execution_id = $3)
              AND ($4::text IS NULL OR task_name = $4)
              AND ($5::text IS NULL OR step_pattern = $5)
              AND ($6::boolean OR deleted_at IS NULL)
            ORDER BY rule_key DESC LIMIT $2::bigint) r ON true
    """


def _equal(column: str, value: str) -> str:
    return (
        f"{column} IS NOT NULL AND ({column}, rule_key) < ({value}, {{rule}})"
        f" AND ({column}, rule_key) >= ({value}, 0)"
    )


_ACTIVE = _statement(
    "((deleted_at IS NULL), rule_key) < (true, {rule}) AND ((deleted_at IS NULL), rule_key)"
    " >= (true, 0)",
    "(deleted_at IS NULL) DESC, rule_key",
)
_OF_EXECUTION = _statement(_equal("execution_id", "$3::text"), "execution_id DESC, rule_key")
_OF_PATTERN = _statement(_equal("step_pattern", "$5::text"), "step_pattern DESC, rule_key")
_OF_TASK = _statement(_equal("task_name", "$4::text"), "task_name DESC, rule_key")
_ALL = _statement("rule_key < {rule}", "rule_key")


async def list_pause_rules(
    connection: Connection,
    scope: PauseScope,
    include_deleted: bool,  # noqa: FBT001 - a filter like the others
    cursor: tuple[int | str, ...] | None,
    limit: int,
) -> Page[PauseRule]:
    """List rules whose own scope fields equal every field given, newest first.

    With several fields a page may have fewer than ``limit`` although others follow.
    """
    found = await connection.fetch(
        _narrowest(scope, include_deleted=include_deleted),
        2**63 - 1 if cursor is None else int(cursor[0]),
        limit + 1,
        scope.execution_id,
        scope.task_name,
        scope.step_pattern,
        include_deleted,
    )
    until: int | None = found[0]["until"]
    rows = [RuleRow.from_row(row) for row in found if row["rule_key"] is not None]
    if len(rows) > limit:
        until = rows[limit - 1].rule_key
    return Page(tuple(row.rule for row in rows[:limit]), None if until is None else (until,))


def _narrowest(scope: PauseScope, *, include_deleted: bool) -> str:
    """Choose the index by which the fewest rules are looked at."""
    if scope.execution_id is not None:
        return _OF_EXECUTION
    if not include_deleted:
        return _ACTIVE
    if scope.step_pattern is not None:
        return _OF_PATTERN
    return _ALL if scope.task_name is None else _OF_TASK
