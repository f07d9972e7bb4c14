"""Reads pause rules, newest first."""

from __future__ import annotations

from sqlalchemy import select

from zart_server.domain.commands import Page
from zart_server.domain.model import PauseRule, PauseScope
from zart_server.store.db import Tx
from zart_server.store.rules import RuleRow
from zart_server.store.tables import pause_rules


async def list_pause_rules(
    tx: Tx,
    scope: PauseScope,
    include_deleted: bool,  # noqa: FBT001 - a filter like the others
    cursor: tuple[int | str, ...] | None,
    limit: int,
) -> Page[PauseRule]:
    """List rules whose own scope fields equal every field given, newest first."""
    statement = select(pause_rules).order_by(pause_rules.c.rule_key.desc()).limit(limit + 1)
    for name in ("execution_id", "task_name", "step_pattern"):
        value = getattr(scope, name)
        if value is not None:
            statement = statement.where(pause_rules.c[name] == value)
    if not include_deleted:
        statement = statement.where(pause_rules.c.deleted_at.is_(None))
    if cursor is not None:
        statement = statement.where(pause_rules.c.rule_key < cursor[0])
    rows = [RuleRow.from_row(row) for row in await tx.select(statement)]
    return Page(
        tuple(row.rule for row in rows[:limit]),
        (rows[limit - 1].rule_key,) if len(rows) > limit else None,
    )
