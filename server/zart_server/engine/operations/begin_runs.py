"""Begins runs from scratch: inserts their steps; the ready ones are queued, paused or leased."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from zart_server.engine.dispatch.eager_start import EagerStart
from zart_server.engine.dispatch.long_polls import LongPolls
from zart_server.store.begin_runs import insert_new_runs, insert_steps
from zart_server.store.caches.runs import RunFacts
from zart_server.store.db import Tx
from zart_server.store.definitions import Definition
from zart_server.store.enqueue import Leases

FEW = 50  # runs whose steps are inserted under the pause lock


class NewRun(NamedTuple):
    """A run that was just inserted, with all of its graph before it.

    ``facts`` None: they are not at hand.
    """

    definition: Definition
    execution_id: str
    run_key: int
    facts: RunFacts | None = None


async def begin_runs(tx: Tx, runs: Sequence[NewRun], long_polls: LongPolls | None = None) -> None:
    """Insert all steps of new runs; enqueue their roots, or pause those that a rule matches.

    The roots of few runs are leased at once to calls that wait for them. Like
    ``enqueue``, the last thing a transaction does that may wait.
    """
    keys = [(run.run_key, run.definition.definition_key) for run in runs]
    # Of many runs the steps take their time: better spent before the pause lock is taken.
    with_steps = len(runs) <= FEW
    if not with_steps:
        await insert_steps(tx, keys)
    eager = EagerStart(tx, long_polls if with_steps else None)
    while True:
        rules = await judge_roots(tx, runs)
        lessees = eager.reserve(runs, rules)
        leases = await insert_new_runs(
            tx, keys, rules, lessees, tx.pauses.epoch, with_steps=with_steps
        )
        if leases is not None:
            break
        # The rules changed before we had the lock; now they cannot, so this happens once.
        eager.call_off()
        await tx.pauses.refresh(tx)
    eager.leased(runs, leases)
    announce_queued(tx, runs, leases)


async def judge_roots(tx: Tx, runs: Sequence[NewRun]) -> list[int]:
    """Return the rule that withholds each root of each run, 0: none does.

    Return an empty list if there are no rules. As of ``tx.pauses.epoch``.
    """
    if await tx.pauses.are_none(tx):
        return []
    rules = await tx.pauses.judge(
        tx,
        [
            (run.execution_id, run.definition.task_name, run.definition.graph.steps[root].step_name)
            for run in runs
            for root in run.definition.graph.roots
        ],
    )
    return [rule or 0 for rule in rules]


def announce_queued(tx: Tx, runs: Sequence[NewRun], leased: Leases | None = None) -> None:
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
            tx.changes.queued(*lane, count=count)
