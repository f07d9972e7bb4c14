"""The active pause rules, kept so that asking which of thousands match a step costs next to none.

It gives what ``pausing.rule_matches`` says of each rule, without asking each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from zart_server.domain.globs import Glob
from zart_server.domain.model import PauseScope

_MAX_ENTRIES = 50_000
_NEVER = 2**63  # no rule has this key

StepNames: TypeAlias = tuple[str, str, str]  # execution id, task name, step name
T = TypeVar("T")


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
    """Rules that match by the step's name alone: those without a pattern, and by its beginning."""

    plain: dict[int, None] = field(default_factory=dict)
    by_prefix: dict[str, dict[int, Glob]] = field(default_factory=dict)

    def put(self, key: int, pattern: str | None) -> None:
        if pattern is None:
            self.plain[key] = None
        else:
            glob = Glob.of(pattern)
            self.by_prefix.setdefault(glob.prefix, {})[key] = glob

    def drop(self, key: int, pattern: str | None) -> None:
        if pattern is None:
            self.plain.pop(key, None)
            return
        prefix = Glob.of(pattern).prefix
        globs = self.by_prefix.get(prefix, {})
        globs.pop(key, None)
        if not globs:
            self.by_prefix.pop(prefix, None)

    def matching(self, step_name: str) -> Iterator[int]:
        yield from self.plain
        if self.by_prefix:
            for end in range(len(step_name) + 1):
                for key, glob in self.by_prefix.get(step_name[:end], {}).items():
                    if glob.matches(step_name):
                        yield key


class RuleSet:
    """Active rules by key; a smaller key is an older rule."""

    def __init__(self) -> None:
        self._scopes: dict[int, PauseScope] = {}
        # Rules that name an execution, by it and the task that they name, if any; then the others.
        self._of_execution: dict[str, dict[str | None, _Rules]] = {}
        self._of_task: dict[str | None, _Rules] = {}
        # The oldest of the others by (task, step): there are few of these pairs, and many steps.
        self._oldest: dict[tuple[str, str], int] = {}

    def __len__(self) -> int:
        return len(self._scopes)

    def put(self, key: int, scope: PauseScope) -> None:
        """Add a rule."""
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
        self._oldest.clear()
        by_task = self._of_task
        if scope.execution_id is not None:
            by_task = self._of_execution[scope.execution_id]
        rules = by_task[scope.task_name]
        rules.drop(key, scope.step_pattern)
        if not rules.plain and not rules.by_prefix:
            del by_task[scope.task_name]
            if not by_task and scope.execution_id is not None:
                del self._of_execution[scope.execution_id]

    def matching(self, execution_id: str, task_name: str, step_name: str) -> Iterator[int]:
        """Return the keys of the rules that withhold a step, in no order."""
        yield from _matching(self._of_execution.get(execution_id), task_name, step_name)
        yield from _matching(self._of_task, task_name, step_name)

    def oldest(self, execution_id: str, task_name: str, step_name: str) -> int | None:
        """Return the key of the oldest rule that withholds a step, None where none does."""
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
