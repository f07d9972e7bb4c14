"""What SQL is held to, in Python: which steps a pause rule withholds, and the credit of a release."""

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


def most_credit(rate: float) -> float:
    """Return the credit that a release has at most: one second's worth, but one step at least."""
    return max(rate, 1.0)


def credit_after(credit: float, rate: float, seconds: float) -> float:
    """Return the credit after so many seconds without a move. What is beyond the most is lost."""
    return min(most_credit(rate), credit + rate * seconds)
