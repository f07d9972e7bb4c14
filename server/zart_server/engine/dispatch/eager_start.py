"""Leases the first steps of new runs to calls that wait for them, so that they need not queue.

A waiting call is reserved for a step, and the commit delivers the task to it. Where the commit
fails, the call looks for tasks itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from zart_server.domain.dispatch import LeasedTask
from zart_server.engine.dispatch.eager import EagerDispatch, lessee_of
from zart_server.engine.dispatch.long_polls import LongPoll, LongPolls
from zart_server.store.caches.runs import RunFacts
from zart_server.store.connection import Connection
from zart_server.store.enqueue import Leases
from zart_server.store.lessees import Lessees
from zart_server.store.stored_graph import Definition


class BegunRun(Protocol):
    """A run that begins. ``facts`` None: they are not at hand."""

    @property
    def definition(self) -> Definition:
        """Its graph."""
        ...

    @property
    def facts(self) -> RunFacts | None:
        """What a handler is to know of it."""
        ...


_MANY = 100  # roots
_Lane: TypeAlias = tuple[str, str]  # task and handler


def _lane_of(definition: Definition, step_no: int) -> _Lane:
    return definition.task_name, definition.graph.steps[step_no].handler


@dataclass(eq=False, slots=True)
class _Reservation:
    long_poll: LongPoll
    tasks: list[LeasedTask]


class EagerStart:
    """The calls that one transaction reserved. ``long_polls`` None: it reserves none."""

    def __init__(self, connection: Connection, long_polls: LongPolls | None) -> None:
        self._tx = connection
        self._long_polls = long_polls
        self._reservations: list[_Reservation] = []
        self._open: list[_Reservation] = []  # those that may have room
        self._unasked: set[_Lane] = set()  # no call asks for these
        self._left: set[_Lane] = set()  # no call asks for these but those reserved
        # By index of the run, and step number.
        self._taken: dict[tuple[int, int], _Reservation] = {}
        self._leased: list[RunFacts] = []
        self._next = EagerDispatch()
        if long_polls is not None:
            connection.at_end(self._end)

    def reserve(self, runs: Sequence[BegunRun], rules: Sequence[int | None]) -> Lessees:
        """Find who takes the first steps that no rule withholds; ``rules`` empty: none does.

        The runs may have no keys yet.
        """
        lessees = Lessees()
        number = 0
        self._unasked, self._left = self._unasked_of(runs), set()
        for index, run in enumerate(runs):
            for root in run.definition.graph.roots:
                is_free = not rules or not rules[number]
                number += 1
                reservation = self._reserved(run, root) if is_free else None
                if reservation is not None:
                    self._taken[index, root] = reservation
                lessees.add(
                    None if reservation is None else lessee_of(reservation.long_poll.lessee)
                )
        return lessees

    def leased(self, runs: Sequence[BegunRun], leases: Leases) -> None:
        """Note the leases of the steps that calls were reserved for; the runs have keys now."""
        for (index, step_no), reservation in self._taken.items():
            definition, run = runs[index].definition, runs[index].facts
            if run is None:
                continue
            token, expires_at = leases[run.run_key, step_no]
            self._leased.append(run)
            reservation.tasks.append(
                self._next.leased(
                    definition, step_no, 1, reservation.long_poll.lessee, run, token, expires_at
                )
            )

    def call_off(self) -> None:
        """Give all reserved calls up: each looks for tasks itself."""
        for reservation in self._reservations:
            reservation.long_poll.deliver([])
        self._reservations.clear()
        self._open.clear()
        self._taken.clear()

    def _unasked_of(self, runs: Sequence[BegunRun]) -> set[_Lane]:
        """Return the lanes of many roots that no call waits for; of few each is looked for."""
        if (
            self._long_polls is None
            or sum(len(run.definition.graph.roots) for run in runs) <= _MANY
        ):
            return set()
        definitions = {run.definition.definition_key: run.definition for run in runs}
        lanes = {
            _lane_of(definition, root)
            for definition in definitions.values()
            for root in definition.graph.roots
        }
        return lanes - self._long_polls.asked_for(lanes)

    def _reserved(self, run: BegunRun, step_no: int) -> _Reservation | None:
        """Return the reserved call that takes a step: the first with room, or one more."""
        facts = run.facts
        if self._long_polls is None or facts is None:
            return None
        lane = _lane_of(run.definition, step_no)
        if lane in self._unasked:
            return None
        found = self._with_room(facts, run.definition, step_no, self._open)
        if found is None and lane not in self._left:
            long_poll = self._long_polls.reserve(*lane)
            if long_poll is None:
                self._left.add(lane)
                return None
            self._reservations.append(_Reservation(long_poll, []))
            self._open.append(self._reservations[-1])
            found = self._with_room(facts, run.definition, step_no, self._open[-1:])
        return found

    def _with_room(
        self,
        run: RunFacts,
        definition: Definition,
        step_no: int,
        reservations: Sequence[_Reservation],
    ) -> _Reservation | None:
        for reservation in reservations:
            lessee = reservation.long_poll.lessee
            if self._next.takes(lessee, run, definition, step_no):
                if self._next.is_full(lessee):
                    self._open.remove(reservation)
                return reservation
        return None

    def _end(self, is_committed: bool) -> None:  # noqa: FBT001 - a callback's one argument
        if is_committed:  # else its key may become another run's
            for run in self._leased:
                self._tx.runs.add(run)  # its report is to come
        for reservation in self._reservations:
            reservation.long_poll.deliver(reservation.tasks if is_committed else [])
