"""The active pause rules, kept so that asking which of thousands match a step costs next to none.

It gives what ``pausing.rule_matches`` says of each rule, without asking each.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple, TypeAlias, TypeVar

from zart_server.domain.glob_index import GlobIndex
from zart_server.domain.globs import Glob
from zart_server.domain.model import PauseScope

_MAX_ENTRIES = 50_000
_NEVER = 2**63  # no rule has this key

# Execution id, task name and step name; for an attempt that exists, also the keys of the rules that
# have let it go.
StepNames: TypeAlias = tuple[str, str, str] | tuple[str, str, str, Collection[int]]
T = TypeVar("T")


class ActiveRule(NamedTuple):
    """An active rule: its key, and what it matches, the scope without the exempt executions."""

    rule_key: int
    scope: PauseScope
    exempt: Collection[str]


@dataclass(frozen=True, slots=True)
class Judgement:
    """The rule that withholds each of some steps, None: none does, as of one epoch of the rules.

    It is written only if the rules still have that epoch. ``rules`` is empty if there are none.
    """

    rules: Sequence[int | None]
    epoch: int

    def beside(self, steps: Sequence[T]) -> Iterable[tuple[T, int | None]]:
        """Return each step with the rule that withholds it."""
        rules = self.rules or [None] * len(steps)
        return zip(steps, rules, strict=True)


@dataclass(slots=True)
class _Rules:
    """Rules that match by the step's name alone: those without a pattern, and by their pattern."""

    plain: dict[int, None] = field(default_factory=dict)
    by_pattern: GlobIndex = field(default_factory=GlobIndex)

    def put(self, key: int, pattern: str | None) -> None:
        if pattern is None:
            self.plain[key] = None
        else:
            self.by_pattern.put(key, Glob.of(pattern))

    def drop(self, key: int, pattern: str | None) -> None:
        if pattern is None:
            del self.plain[key]
        else:
            self.by_pattern.drop(key, Glob.of(pattern))

    def matching(self, step_name: str) -> Iterator[int]:
        yield from self.plain
        yield from self.by_pattern.matching(step_name)


class RuleSet:
    """Active rules by key, each without the executions it exempts; a smaller key is an older rule.

    Exemptions cost a step of another execution one lookup, however many there are.
    """

    def __init__(self) -> None:
        self._scopes: dict[int, PauseScope] = {}
        # Rules that name an execution, by it and the task that they name, if any; then the others.
        self._of_execution: dict[str, dict[str | None, _Rules]] = {}
        self._of_task: dict[str | None, _Rules] = {}
        # The oldest of the others by (task, step): there are few of these pairs, and many steps.
        self._oldest: dict[tuple[str, str], int] = {}
        self._exempt_of: dict[int, frozenset[str]] = {}
        self._exempt_from: dict[str, set[int]] = {}  # the rules that exempt an execution

    def __len__(self) -> int:
        return len(self._scopes)

    def put(self, key: int, scope: PauseScope, exempt: Collection[str] = ()) -> None:
        """Add a rule, or replace what it exempts: the scope of a rule never changes."""
        self._exempt(key, frozenset(exempt))
        if key in self._scopes:
            return
        self._scopes[key] = scope
        self._oldest.clear()
        by_task = self._of_task
        if scope.execution_id is not None:
            by_task = self._of_execution.setdefault(scope.execution_id, {})
        by_task.setdefault(scope.task_name, _Rules()).put(key, scope.step_pattern)

    def drop(self, key: int) -> None:
        """Take a rule away, where it is there."""
        scope = self._scopes.pop(key, None)
        if scope is None:
            return
        self._exempt(key, frozenset())
        self._oldest.clear()
        by_task = self._of_task
        if scope.execution_id is not None:
            by_task = self._of_execution[scope.execution_id]
        rules = by_task[scope.task_name]
        rules.drop(key, scope.step_pattern)
        if not rules.plain and not rules.by_pattern:
            del by_task[scope.task_name]
            if not by_task and scope.execution_id is not None:
                del self._of_execution[scope.execution_id]

    def _exempt(self, key: int, exempt: frozenset[str]) -> None:
        known = self._exempt_of.pop(key, frozenset())
        if exempt:
            self._exempt_of[key] = exempt
        for execution_id in known - exempt:
            rules = self._exempt_from[execution_id]
            rules.discard(key)
            if not rules:
                del self._exempt_from[execution_id]
        for execution_id in exempt - known:
            self._exempt_from.setdefault(execution_id, set()).add(key)

    def matching(
        self, execution_id: str, task_name: str, step_name: str, let_go: Collection[int] = ()
    ) -> Iterator[int]:
        """Return the keys of the rules that withhold a step, in no order.

        Not those that have ``let_go`` the attempt that there is.
        """
        exempt_from = self._exempt_from.get(execution_id, ())
        of_execution = _matching(self._of_execution.get(execution_id), task_name, step_name)
        for key in chain(of_execution, _matching(self._of_task, task_name, step_name)):
            if key not in exempt_from and key not in let_go:
                yield key

    @property
    def knows_any(self) -> bool:
        """Whether a rule names or exempts an execution."""
        return bool(self._of_execution or self._exempt_from)

    def knows(self, execution_id: str) -> bool:
        """Return whether a rule names or exempts an execution.

        Steps of all others are withheld alike if the names of their tasks and their own are.
        """
        return execution_id in self._of_execution or execution_id in self._exempt_from

    def oldest(
        self, execution_id: str, task_name: str, step_name: str, let_go: Collection[int] = ()
    ) -> int | None:
        """Return the key of the oldest rule that withholds a step, None where none does."""
        if let_go or execution_id in self._exempt_from:
            return min(self.matching(execution_id, task_name, step_name, let_go), default=None)
        oldest = self._oldest.get((task_name, step_name))
        if oldest is None:
            if len(self._oldest) >= _MAX_ENTRIES:
                self._oldest.clear()
            oldest = min(_matching(self._of_task, task_name, step_name), default=_NEVER)
            self._oldest[task_name, step_name] = oldest
        own = self._of_execution.get(execution_id)
        if own is not None:
            oldest = min(oldest, min(_matching(own, task_name, step_name), default=_NEVER))
        return None if oldest == _NEVER else oldest


def _matching(
    by_task: dict[str | None, _Rules] | None, task_name: str, step_name: str
) -> Iterator[int]:
    if by_task is None:
        return
    for task in (task_name, None):
        rules = by_task.get(task)
        if rules is not None:
            yield from rules.matching(step_name)
