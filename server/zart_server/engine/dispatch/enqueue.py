"""Decides whether ready steps are queued, paused, or leased at once, and does it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from zart_server.domain.dispatch import LeaseNext
from zart_server.domain.rule_set import Judgement, StepNames
from zart_server.engine.dispatch.eager import lessee_of
from zart_server.store.arrays import Distinct
from zart_server.store.connection import Connection, Tx
from zart_server.store.enqueue import Leases, ReadyRows, enqueue_ready
from zart_server.store.lessees import Lessee
from zart_server.store.pausing.judging import write_judged
from zart_server.store.queue import LaneCursor
from zart_server.store.steps import RerunSteps
from zart_server.store.stored_graph import Definition, QueuedAs


@dataclass(slots=True)
class Ready:
    """A step that became ready, and the lessee that leases it at once if no rule withholds it.

    ``attempt`` is the next one, ``delay`` is in seconds, ``max_attempts`` None: the definition's.
    ``correction`` is the number of its input's correction, 0: none. ``place``: where it stood in
    its lane before it was leased, and stands again; its number is 0 if it was never queued.
    """

    definition: Definition
    execution_id: str
    run_key: int
    step_no: int
    attempt: int = 1
    counted: int = 0
    backoff_base: int = 0
    max_attempts: int | None = None
    delay: float = 0.0
    lessee: LeaseNext | None = None
    correction: int = 0
    place: LaneCursor | None = None

    def announce(self, connection: Connection) -> None:
        """Announce the step to the calls that wait for its lane, if it was queued."""
        if self.lessee is None:
            task_name = self.definition.task_name
            handler = self.definition.graph.steps[self.step_no].handler
            connection.changes.queued(task_name, handler, self.delay)
            if self.place is not None:
                lane = self.definition.queued[self.step_no].lane
                connection.changes.put_back(task_name, handler, lane, self.place)


async def enqueue(tx: Tx, ready: Sequence[Ready], steps: RerunSteps | None = None) -> Leases:
    """Queue ready steps, or lease them at once; pause those that an active rule matches.

    Return the leases. ``steps`` are those of their reruns, to be inserted before.
    The last thing a transaction does that may wait: it takes the pause lock, shared, and keeps it
    to the commit, so that a Pause either is seen here or sees what is queued or leased here.
    The caller has locked the runs.
    """
    if not ready and steps is None:
        return {}

    async def write(judgement: Judgement) -> Leases | None:
        return await enqueue_ready(tx, rows_of(ready, judgement), steps)

    judgement, leases = await write_judged(tx, names_of_ready(ready), write)
    for item, rule in judgement.beside(ready):
        if rule is None:
            item.announce(tx)
    return leases


def names_of_ready(ready: Sequence[Ready]) -> list[StepNames]:
    """Return ready steps as pause rules know them."""
    return [
        (
            item.execution_id,
            item.definition.task_name,
            item.definition.queued[item.step_no].step_name,
        )
        for item in ready
    ]


def rows_of(ready: Sequence[Ready], judgement: Judgement) -> ReadyRows:
    """Return the rows of ready steps as they were judged."""
    kinds: Distinct[QueuedAs] = Distinct()
    lessees: Distinct[Lessee] = Distinct()
    known: dict[LeaseNext, int] = {}
    rows = []
    for item, rule in judgement.beside(ready):
        kind = item.definition.queued[item.step_no]
        if item.correction:
            kind = kind._replace(correction=item.correction)
        to = item.lessee if rule is None else None
        lessee = 0
        if to is not None:
            lessee = known.get(to, 0)
            if not lessee:
                lessee = known[to] = lessees.index(lessee_of(to))
        rows.append(
            (
                item.run_key,
                item.step_no,
                item.attempt,
                item.counted,
                item.backoff_base,
                item.max_attempts or kind.max_attempts,
                item.delay,
                rule or 0,
                kinds.index(kind),
                lessee,
            )
        )
    places = [item.place for item in ready]
    if places.count(None) == len(places):
        places = []
    return ReadyRows(judgement, rows, kinds.values, lessees.values, places=places)
