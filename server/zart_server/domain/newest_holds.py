"""Finds the newest holds of an execution: thousands of rules, ten thousand steps that waited.

The waits are gone through from the newest on, and of each the rules from the newest on: soon there
are enough holds, and most of what is left cannot be among the newest. Rules with the same pattern
are held to a name as one.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import accumulate, chain, count
from typing import NamedTuple, TypeAlias

from zart_server.domain.glob_index import GlobIndex
from zart_server.domain.globs import Glob
from zart_server.domain.model import PauseRule, Run, Step
from zart_server.domain.rule_holds import (
    OnRecord,
    RuleHold,
    Span,
    Wait,
    held_while,
    stood,
    waits_of,
)

_NEVER = datetime.max.replace(tzinfo=UTC)
# Spans, which are held to a name one by one: the index takes about as long as this. And patterns,
# which are kept for a name.
_FEW = 50
_EVERYTHING = "*"  # what a rule without a pattern matches

# When it began, its step and its rule; then, of those that have these in common, which came first.
_Rank: TypeAlias = tuple[datetime, str, str, int, int, int]


class HeldRun(NamedTuple):
    """A run, its steps, and what else is on record of it."""

    run: Run
    steps: Sequence[Step]
    record: OnRecord


class NewestHolds(NamedTuple):
    """Holds, newest first. ``are_all``: there are no others."""

    holds: list[RuleHold]
    are_all: bool


class _Stood(NamedTuple):
    """A part of the time for which a rule stood."""

    since: datetime
    until: datetime
    span: Span
    rule: PauseRule
    pattern: str


class _Line:
    """Spans of rules by when they begin."""

    def __init__(self, spans: Iterable[_Stood]) -> None:
        self._spans = sorted(spans, key=lambda each: each.since)
        self._begins = [each.since for each in self._spans]
        self._ends = list(accumulate((each.until for each in self._spans), max))

    def during(self, since: datetime, until: datetime, begun: datetime | None) -> range:
        """Return where all stand that overlap a time, perhaps among others.

        ``begun``: only those that began at this time or later.
        """
        first = bisect_right(self._ends, since)
        if begun is not None:
            first = max(first, bisect_left(self._begins, begun))
        return range(first, bisect_left(self._begins, until))

    def newest(self, where: range) -> Iterator[_Stood]:
        """Yield those that stand there, from the newest on."""
        return map(self._spans.__getitem__, reversed(where))


class _Newest:
    """The newest holds, one more than are asked for: so it is known whether those are all."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._number = count()
        self._kept: list[tuple[_Rank, RuleHold]] = []

    @property
    def since(self) -> datetime | None:
        """When the oldest began, which one has to outdo; None: there are not enough yet."""
        return self._kept[0][0][0] if len(self._kept) > self._most else None

    def takes(self, since: datetime, step_name: str) -> bool:
        """Return whether a hold that begins then at the latest may be among them."""
        return len(self._kept) <= self._most or (since, step_name) >= self._kept[0][0][:2]

    def add(self, hold: RuleHold, run: int, wait: int) -> None:
        """Add a hold, found in this one of the runs and of its waits."""
        since, name, rule_id = hold.since, hold.step_name, hold.rule.rule_id
        rank = since, name, rule_id, -run, -wait, -next(self._number)
        if len(self._kept) <= self._most:
            heapq.heappush(self._kept, (rank, hold))
        elif rank > self._kept[0][0]:
            heapq.heapreplace(self._kept, (rank, hold))

    def found(self) -> NewestHolds:
        """Return them."""
        ranked = sorted(self._kept, reverse=True)
        return NewestHolds([hold for _, hold in ranked[: self._most]], len(ranked) <= self._most)


class _Rules:
    """The rules that can match steps of an execution's, by what they match in it."""

    def __init__(
        self, rules: Iterable[PauseRule], execution_id: str, task_name: str, few: int
    ) -> None:
        self.few = few
        self.by_pattern: dict[str, list[PauseRule]] = {}
        for rule in rules:
            scope = rule.scope
            if scope.execution_id in (None, execution_id) and scope.task_name in (None, task_name):
                pattern = _EVERYTHING if scope.step_pattern is None else scope.step_pattern
                self.by_pattern.setdefault(pattern, []).append(rule)
        self._index = GlobIndex()
        self._patterns = list(self.by_pattern)
        for key, pattern in enumerate(self._patterns):
            self._index.put(key, Glob.of(pattern))
        self._matching: dict[str, list[str]] = {}

    def matching(self, step_name: str) -> list[str]:
        """Return the patterns that match a name."""
        found = self._matching.get(step_name)
        if found is None:
            found = [self._patterns[key] for key in self._index.matching(step_name)]
            if len(found) <= self.few:  # else they would fill the memory
                self._matching[step_name] = found
        return found


def newest_holds(
    execution_id: str,
    task_name: str,
    runs: Iterable[HeldRun],
    rules: Iterable[PauseRule],
    most: int,
    few: int = _FEW,
) -> NewestHolds:
    """Return which rules held the steps of an execution's runs: the newest of the holds.

    Those that began at one time are in the order of their steps' names and rules' ids, backwards.
    Up to ``few`` rules at a time are held to a name one by one.
    """
    newest, known = _Newest(most), _Rules(rules, execution_id, task_name, few)
    for number, held in enumerate(runs):
        _look_at(number, held, known, newest)
    return newest.found()


def _look_at(number: int, held: HeldRun, rules: _Rules, newest: _Newest) -> None:
    """Add what was held of a run, but for some that cannot be among the newest."""
    all_stood = _AllStood(rules, held.record)
    waits = enumerate(waits_of(held.run, held.steps, held.record))
    from_newest = sorted(waits, key=lambda each: (each[1].since, each[1].step_name), reverse=True)
    for place, wait in from_newest:
        for one in all_stood.during(wait, newest):
            for span in held_while(one.span, one.rule.rule_id, wait, held.record):
                hold = RuleHold(one.rule, held.run.run_number, wait.step_name, *span)
                newest.add(hold, number, place)


class _AllStood:
    """When each of some rules stood that did not exempt an execution by what is on record."""

    def __init__(self, rules: _Rules, record: OnRecord) -> None:
        self._rules = rules
        of_pattern = {
            pattern: [
                _Stood(span[0], span[1] or _NEVER, span, rule, pattern)
                for rule in alike
                for span in stood(rule, record)
            ]
            for pattern, alike in rules.by_pattern.items()
        }
        self._of_rule: dict[str, list[_Stood]] = {}
        for one in chain.from_iterable(of_pattern.values()):
            self._of_rule.setdefault(one.rule.rule_id, []).append(one)
        self._let_go: dict[tuple[str, int], set[str]] = {}
        for rule_id, step_name, attempt in record.let_go:
            self._let_go.setdefault((step_name, attempt), set()).add(rule_id)
        self._line = _Line(chain.from_iterable(of_pattern.values()))
        self._lines = {pattern: _Line(spans) for pattern, spans in of_pattern.items()}

    def during(self, wait: Wait, newest: _Newest) -> Iterator[_Stood]:
        """Yield those of the rules that match a step, while it waited, if they may be of use."""
        gone = self._let_go.get((wait.step_name, wait.attempt))
        if gone is None:
            yield from self._overlapping(wait, newest)
            return
        # What is taken back begins later than the rule and the wait.
        for rule_id in gone:
            for one in self._of_rule.get(rule_id, ()):
                if Glob.of(one.pattern).matches(wait.step_name):
                    yield one
        for one in self._overlapping(wait, newest):
            if one.rule.rule_id not in gone:
                yield one

    def _overlapping(self, wait: Wait, newest: _Newest) -> Iterator[_Stood]:
        """Yield those whose holds may be among the newest, if they let nothing go."""
        name, since, until = wait.step_name, wait.since, wait.until or _NEVER

        def places(line: _Line) -> range:
            # Where a hold from the begin of the wait on is too old, only later rules count.
            return line.during(since, until, None if newest.takes(since, name) else newest.since)

        where = places(self._line)
        if len(where) <= self._rules.few:
            for one in self._line.newest(where):
                if one.until > since and Glob.of(one.pattern).matches(name):
                    yield one
            return
        for pattern in self._rules.matching(name):
            line = self._lines[pattern]
            for one in line.newest(places(line)):
                if not newest.takes(max(one.since, since), name):
                    break
                if one.until > since:
                    yield one
