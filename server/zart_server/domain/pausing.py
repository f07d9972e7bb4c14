"""What a pause rule matches: the rule that SQL follows, in Python, as its specification."""

from __future__ import annotations

from collections.abc import Collection

from zart_server.domain.globs import matches
from zart_server.domain.model import PauseScope


def rule_matches(
    scope: PauseScope,
    execution_id: str,
    task_name: str,
    step_name: str,
    exempt: Collection[str] = (),
) -> bool:
    """Return whether a rule withholds a step: each field of its scope that is set must match.

    Steps of the executions that it exempts are none of its own.
    """
    return (
        execution_id not in exempt
        and scope.execution_id in (None, execution_id)
        and scope.task_name in (None, task_name)
        and (scope.step_pattern is None or matches(scope.step_pattern, step_name))
    )


def equals_scope(rule: PauseScope, asked: PauseScope) -> bool:
    """Return whether Resume with ``asked`` deletes a rule: its fields equal each one given."""
    return (
        asked.execution_id in (None, rule.execution_id)
        and asked.task_name in (None, rule.task_name)
        and asked.step_pattern in (None, rule.step_pattern)
    )
