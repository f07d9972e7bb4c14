"""Reads pause rules: one, or a list of them, newest first."""

from __future__ import annotations

from collections.abc import Sequence

from zart_server.domain.commands import Page
from zart_server.domain.errors import PauseRuleNotFound
from zart_server.domain.model import PauseRule, PauseScope
from zart_server.store.connection import Connection, Tx
from zart_server.store.pausing.counting import in_flight, with_counts, withheld_steps
from zart_server.store.pausing.rules import (
    LISTED_EXEMPTIONS,
    RuleRow,
    find_rule,
    rule_columns,
)
from zart_server.store.statement import Statement

_LOOKED_AT = 5_000


def _statement(where: str, order: str) -> Statement:
    """Return the query that looks at rules in order, and gives those with all of a scope's fields.

    `until` is the last that was looked at if others follow.
    """
    text = f"""
        WITH first AS MATERIALIZED (
            SELECT * FROM zart.pause_rules WHERE {where.format(rule=":before::bigint")}
            ORDER BY {order} DESC LIMIT {_LOOKED_AT}
        )
        SELECT r.*, until FROM (
            SELECT CASE count(*) WHEN {_LOOKED_AT} THEN min(rule_key) END AS until FROM first) e
        LEFT JOIN LATERAL (
            SELECT {rule_columns("first", LISTED_EXEMPTIONS)} FROM first
            WHERE (:execution_id::text IS NULL OR execution_id = :execution_id)
              AND (:task_name::text IS NULL OR task_name = :task_name)
              AND (:step_pattern::text IS NULL OR step_pattern = :step_pattern)
              AND (:include_deleted::boolean OR deleted_at IS NULL)
            ORDER BY rule_key DESC LIMIT :limit::bigint) r ON true
    """
    return Statement(text)


def _equal(column: str, value: str) -> str:
    return (
        f"{column} IS NOT NULL AND ({column}, rule_key) < ({value}, {{rule}})"
        f" AND ({column}, rule_key) >= ({value}, 0)"
    )


# By the index that is gone through.
_LIST = {
    "active": _statement(
        "((deleted_at IS NULL), rule_key) < (true, {rule})"
        " AND ((deleted_at IS NULL), rule_key) >= (true, 0)",
        "(deleted_at IS NULL) DESC, rule_key",
    ),
    "of an execution": _statement(
        _equal("execution_id", ":execution_id::text"), "execution_id DESC, rule_key"
    ),
    "of a pattern": _statement(
        _equal("step_pattern", ":step_pattern::text"), "step_pattern DESC, rule_key"
    ),
    "of a task": _statement(_equal("task_name", ":task_name::text"), "task_name DESC, rule_key"),
    "all": _statement("rule_key < {rule}", "rule_key"),
}


async def get_pause_rule(tx: Tx, rule_id: str) -> PauseRule:
    """Return a rule, deleted or not, with its counts; reads one snapshot.

    Raises PauseRuleNotFound.
    """
    row = await find_rule(tx, rule_id)
    if row is None:
        raise PauseRuleNotFound(rule_id)
    if row.rule.deleted_at is not None:
        return row.rule
    withheld = await withheld_steps(tx, [row.rule_key])
    flying = await in_flight(tx, [row.rule_key])
    return with_counts(row, withheld[row.rule_key], flying[0] if flying else None)


async def list_pause_rules(
    connection: Connection,
    scope: PauseScope,
    include_deleted: bool,  # noqa: FBT001 - a filter like the others
    cursor: tuple[int | str, ...] | None,
    limit: int,
) -> Page[RuleRow]:
    """List rules whose own scope fields equal every field given, newest first.

    With several fields a page may have fewer than ``limit`` although others follow.
    """
    statement = _LIST[_narrowest(scope, include_deleted=include_deleted)]
    found = await connection.fetch(
        statement.text,
        *statement.arguments(
            before=2**63 - 1 if cursor is None else int(cursor[0]),
            limit=limit + 1,
            execution_id=scope.execution_id,
            task_name=scope.task_name,
            step_pattern=scope.step_pattern,
            include_deleted=include_deleted,
        ),
    )
    until: int | None = found[0]["until"]
    rows = [RuleRow.from_row(row) for row in found if row["rule_key"] is not None]
    if len(rows) > limit:
        until = rows[limit - 1].rule_key
    cursors = tuple((row.rule_key,) for row in rows[:limit])
    return Page(tuple(rows[:limit]), cursors, None if until is None else (until,))


_FIND = Statement(
    f"""
    SELECT r.* FROM unnest(:rule_ids::text[]) u(id) CROSS JOIN LATERAL (
        SELECT {rule_columns("p")} FROM zart.pause_rules p WHERE rule_id = u.id OFFSET 0) r
    """
)


async def find_rules(connection: Connection, rule_ids: Sequence[str]) -> list[RuleRow]:
    """Return the rules with these ids, deleted or not, with all that they exempt, in any order."""
    rows = await connection.fetch(_FIND.text, *_FIND.arguments(rule_ids=rule_ids))
    return [RuleRow.from_row(row) for row in rows]


def _narrowest(scope: PauseScope, *, include_deleted: bool) -> str:
    """Choose the index by which the fewest rules are looked at."""
    if scope.execution_id is not None:
        return "of an execution"
    if not include_deleted:
        return "active"
    if scope.step_pattern is not None:
        return "of a pattern"
    return "all" if scope.task_name is None else "of a task"
