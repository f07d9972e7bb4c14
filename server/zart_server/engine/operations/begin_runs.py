"""Begins runs from scratch: inserts their steps; the ready ones are queued, paused or leased."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from zart_server.domain.rule_set import Judgement, StepNames
from zart_server.engine.dispatch.eager_start import EagerStart
from zart_server.engine.dispatch.long_polls import LongPolls
from zart_server.store.begin_runs import insert_new_runs, insert_steps
from zart_server.store.caches.runs import RunFacts
from zart_server.store.connection import Connection, Tx
from zart_server.store.enqueue import Leases
from zart_server.store.pausing.judging import write_judged
from zart_server.store.stored_graph import Definition

FEW = 50  # runs that begin by one statement, under the pause lock
# Steps that it inserts: 500,000, which 50 runs can have, kept a Pause waiting until it gave up.
_MOST_STEPS = 5_000


class NewRun(NamedTuple):
    """A run that was just inserted, with all of its graph before it.

    ``facts`` None: they are not at hand.
    """

    definition: Definition
    execution_id: str
    run_key: int
    facts: RunFacts | None = None


@dataclass(frozen=True, slots=True)
class Roots:
    """The roots of new runs as pause rules know them, root for root of run after run.

    Named only when they are judged: where there are no rules nobody asks.
    """

    runs: Sequence[NewRun]

    def __iter__(self) -> Iterator[StepNames]:
        """Return the names of each root."""
        for run in self.runs:
            definition = run.definition
            for root in definition.graph.roots:
                yield run.execution_id, definition.task_name, definition.graph.steps[root].step_name


def are_few(definitions: Sequence[Definition]) -> bool:
    """Return whether new runs of these graphs begin by one statement, which inserts their steps.

    Of more runs, or of more steps, these are inserted before the pause lock is taken.
    """
    steps = (len(definition.graph.steps) for definition in definitions)
    return len(definitions) <= FEW and sum(steps) <= _MOST_STEPS


async def begin_runs(tx: Tx, runs: Sequence[NewRun], long_polls: LongPolls | None = None) -> None:
    """Insert all steps of new runs; enqueue their roots, or pause those that a rule matches.

    The roots of few runs are leased at once to calls that wait for them. Like
    ``enqueue``, the last thing a transaction does that may wait.
    """
    keys = [(run.run_key, run.definition.definition_key) for run in runs]
    with_steps = are_few([run.definition for run in runs])
    if not with_steps:
        await insert_steps(tx, keys)
    eager = EagerStart(tx, long_polls if len(runs) <= FEW else None)

    async def write(judgement: Judgement) -> Leases | None:
        lessees = eager.reserve(runs, judgement.rules)
        leases = await insert_new_runs(tx, keys, judgement, lessees, with_steps=with_steps)
        if leases is None:
            eager.call_off()
        return leases

    _, leases = await write_judged(tx, Roots(runs), write)
    eager.leased(runs, leases)
    announce_queued(tx, runs, leases)


def announce_queued(
    connection: Connection, runs: Sequence[NewRun], leased: Leases | None = None
) -> None:
    """Note the lanes of the queued roots, for calls that wait. Paused ones count too.

    That does no harm: a call that looks and finds no task goes on waiting.
    """
    lanes: Counter[tuple[str, str]] = Counter()
    definitions = {run.definition.definition_key: run.definition for run in runs}
    for definition_key, count in Counter(run.definition.definition_key for run in runs).items():
        definition = definitions[definition_key]
        for root in definition.graph.roots:
            lanes[definition.task_name, definition.graph.steps[root].handler] += count
    if leased:
        of = {run.run_key: run.definition for run in runs}
        for run_key, step_no in leased:
            definition = of[run_key]
            lanes[definition.task_name, definition.graph.steps[step_no].handler] -= 1
    for lane, count in lanes.items():
        if count:
            connection.changes.queued(*lane, count=count)
