"""Lets runs begin from scratch: their steps, and what is ready of them queued or held."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from zart_server.store.db import Tx
from zart_server.store.definitions import Definition
from zart_server.store.new_runs import insert_new_runs, insert_steps

_FEW = 50


class NewRun(NamedTuple):
    """A run that was just inserted, with all of its graph before it."""

    definition: Definition
    execution_id: str
    run_key: int


async def begin_runs(tx: Tx, runs: Sequence[NewRun]) -> None:
    """Insert all steps of new runs and queue the first, or hold those that a pause rule matches.

    Like ``placing.place``, the last thing a transaction does that may wait.
    """
    keys = [(run.run_key, run.definition.definition_key) for run in runs]
    # Of many runs the steps take their time: better spent before the pause lock is taken.
    with_steps = len(runs) <= _FEW
    if not with_steps:
        await insert_steps(tx, keys)
    while True:
        rules = await _rules(tx, runs)
        if await insert_new_runs(tx, keys, rules, tx.pauses.epoch, with_steps=with_steps):
            break
        # The rules changed before we had the lock; now they cannot, so this happens once.
        await tx.pauses.refresh(tx)
    definitions = {run.definition.definition_key: run.definition for run in runs}
    for definition_key, count in Counter(key for _, key in keys).items():
        definition = definitions[definition_key]
        for root in definition.graph.roots:
            # Held ones are told of too: who looks and finds none goes on waiting.
            handler = definition.graph.steps[root].handler
            tx.changes.queued(definition.task_name, handler, count=count)


async def _rules(tx: Tx, runs: Sequence[NewRun]) -> list[int]:
    """Give the rule that withholds each first step of each run, 0 where none does."""
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
