"""Leases the first steps of new runs to calls that wait for them, so that they need not queue.

Who waits is promised a step, and is handed it by the commit. Where that fails it looks itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from zart_server.domain.commands import LeasedTask
from zart_server.engine.dispatch.eager import NextTasks, taker_of
from zart_server.engine.dispatch.long_polls import Waiter, Waiters
from zart_server.store.caches.runs import RunFacts
from zart_server.store.db import Tx
from zart_server.store.definitions import Definition
from zart_server.store.enqueue import Leases
from zart_server.store.lessees import Takers


class Begun(Protocol):
    """A run that begins. ``facts`` None: they are not at hand."""

    @property
    def definition(self) -> Definition:
        """Its graph."""
        ...

    @property
    def facts(self) -> RunFacts | None:
        """What a handler is to know of it."""
        ...


@dataclass(eq=False, slots=True)
class _Promise:
    waiter: Waiter
    tasks: list[LeasedTask]


class Handing:
    """The promises of one transaction. ``waiters`` None: nobody is promised anything."""

    def __init__(self, tx: Tx, waiters: Waiters | None) -> None:
        self._tx = tx
        self._waiters = waiters
        self._promises: list[_Promise] = []
        self._taken: dict[tuple[int, int], _Promise] = {}  # by place of the run, and step number
        self._next = NextTasks()
        if waiters is not None:
            tx.at_end(self._end)

    def promise(self, runs: Sequence[Begun], rules: Sequence[int]) -> Takers:
        """Find who takes the first steps that no rule withholds; ``rules`` empty: none does.

        The runs may have no keys yet.
        """
        takers = Takers()
        number = 0
        for place, run in enumerate(runs):
            for root in run.definition.graph.roots:
                is_free = not rules or not rules[number]
                number += 1
                promise = self._promised(run, root) if is_free else None
                if promise is not None:
                    self._taken[place, root] = promise
                takers.add(None if promise is None else taker_of(promise.waiter.taker))
        return takers

    def leased(self, runs: Sequence[Begun], leases: Leases) -> None:
        """Note what was leased of the runs that were promised, which have keys now."""
        for (place, step_no), promise in self._taken.items():
            definition, run = runs[place].definition, runs[place].facts
            if run is None:
                continue
            token, expires_at = leases[run.run_key, step_no]
            self._tx.runs.add(run)  # its report is to come
            promise.tasks.append(
                self._next.leased(
                    definition, step_no, 1, promise.waiter.taker, run, token, expires_at
                )
            )

    def call_off(self) -> None:
        """Promise nothing any more."""
        for promise in self._promises:
            promise.waiter.hand([])
        self._promises.clear()
        self._taken.clear()

    def _promised(self, run: Begun, step_no: int) -> _Promise | None:
        """Return the promise that a step goes to: the first with room, or a new one."""
        facts = run.facts
        if self._waiters is None or facts is None:
            return None
        found = self._with_room(facts, run.definition, step_no, self._promises)
        if found is None:
            handler = run.definition.graph.steps[step_no].handler
            waiter = self._waiters.promise(run.definition.task_name, handler)
            if waiter is None:
                return None
            self._promises.append(_Promise(waiter, []))
            found = self._with_room(facts, run.definition, step_no, self._promises[-1:])
        return found

    def _with_room(
        self, run: RunFacts, definition: Definition, step_no: int, promises: Sequence[_Promise]
    ) -> _Promise | None:
        for promise in promises:
            if self._next.takes(promise.waiter.taker, run, definition, step_no):
                return promise
        return None

    def _end(self, is_committed: bool) -> None:  # noqa: FBT001 - a callback's one argument
        for promise in self._promises:
            promise.waiter.hand(promise.tasks if is_committed else [])
