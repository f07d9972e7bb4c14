"""What a transaction changed: collected while it goes on, told after its commit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

SOON = 1.0  # seconds: maintenance looks so often for what is due later


@dataclass
class Changes:
    """What a transaction changed that somebody may wait for; told to them after its commit."""

    lanes: dict[tuple[str, str], int] = field(default_factory=dict)  # (task, handler) → queued
    runs: set[int] = field(default_factory=set)  # run keys, told of by whatever locks or claims
    at_once: set[int] = field(default_factory=set)  # those that ended, or an operator changed
    rules: bool = False  # pause rules were added or deleted
    due_in: float | None = None  # seconds until the first task that was queued with a delay
    # Of lanes, by (task, handler), whose tasks were queued where they had stood before: the lane
    # and the first cursor.
    cursors: dict[tuple[str, str], tuple[int, tuple[datetime, int]]] = field(default_factory=dict)
    breakers: bool = False  # a breaker was made
    batches: bool = False  # batches were made or changed: told on this server only
    abandoned: Counter[str] = field(default_factory=Counter)  # attempts broken off, by task
    retention: bool = False  # another time is set to keep executions for: likewise
    any_run: bool = False  # any run may have changed: told by other servers only
    # The delay in seconds and the lane of each task that is due soon: told on this server only.
    soon: list[tuple[float, tuple[str, str]]] = field(default_factory=list)

    def queued(self, task_name: str, handler: str, delay: float = 0.0, count: int = 1) -> None:
        """Note that tasks were queued, due after ``delay`` seconds."""
        if delay > 0:
            self.due_in = delay if self.due_in is None else min(self.due_in, delay)
            if delay < SOON:
                self.soon += [(delay, (task_name, handler))] * count
        else:
            self.lanes[task_name, handler] = self.lanes.get((task_name, handler), 0) + count

    def put_back(
        self, task_name: str, handler: str, lane: int, cursor: tuple[datetime, int]
    ) -> None:
        """Note that a task was queued where it had stood before: looks may be past that."""
        known = self.cursors.get((task_name, handler))
        if known is None or cursor < known[1]:
            self.cursors[task_name, handler] = lane, cursor

    def changed(self, run_keys: Iterable[int], *, at_once: bool = False) -> None:
        """Note that something of runs changed: called by the statements that lock or claim them."""
        keys = set(run_keys)
        self.runs |= keys
        if at_once:
            self.at_once |= keys

    def parts(self, count: int) -> list[Changes]:
        """Return what other servers are told of, in so many parts at most.

        A lane is in one part with its cursor, a run with whether it is urgent.
        """
        names, runs = [*dict.fromkeys([*self.lanes, *self.cursors])], sorted(self.runs)
        parts = []
        for number in range(min(count, max(len(names), len(runs), 1))):
            some, keys = names[number::count], set(runs[number::count])
            parts.append(
                Changes(
                    {lane: self.lanes[lane] for lane in some if lane in self.lanes},
                    keys,
                    keys & self.at_once,
                    cursors={lane: self.cursors[lane] for lane in some if lane in self.cursors},
                )
            )
        first = parts[0]
        first.rules, first.due_in, first.breakers = self.rules, self.due_in, self.breakers
        return parts

    def __bool__(self) -> bool:
        return bool(
            self.lanes
            or self.runs
            or self.rules
            or self.breakers
            or self.batches
            or self.retention
            or self.due_in is not None
        )
