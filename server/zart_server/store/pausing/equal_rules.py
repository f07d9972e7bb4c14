"""Finds the rules that have a scope already."""

from __future__ import annotations

from zart_server.domain.model import PauseScope
from zart_server.domain.pause_plans import EqualRule
from zart_server.store.connection import Connection
from zart_server.store.statement import Statement

_EQUAL = Statement(
    """
    SELECT rule_id, created_by, reason FROM zart.pause_rules p
    WHERE deleted_at IS NULL AND everything = :everything
      AND execution_id IS NOT DISTINCT FROM :execution_id::text
      AND task_name IS NOT DISTINCT FROM :task_name::text
      AND step_pattern IS NOT DISTINCT FROM :step_pattern::text
      AND NOT EXISTS (SELECT FROM zart.pause_releases l
          WHERE l.rule_key = p.rule_key AND l.ended_at IS NULL)
    ORDER BY rule_key LIMIT :most::bigint
    """
)


async def equal_rules(
    connection: Connection, scope: PauseScope, most: int | None = None
) -> list[EqualRule]:
    """Return the rules with this very scope that stand, oldest first: not those that release.

    ``most``: the first so many of them; None: all.
    """
    rows = await connection.fetch(
        _EQUAL.text,
        *_EQUAL.arguments(
            execution_id=scope.execution_id,
            task_name=scope.task_name,
            step_pattern=scope.step_pattern,
            everything=scope.everything,
            most=most,
        ),
    )
    return [EqualRule(*row) for row in rows]
