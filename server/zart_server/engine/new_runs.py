"""Lets runs begin from scratch: their steps, and what is ready of them queued or held."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from zart_server.store.db import Tx
from zart_server.store.definitions import Definition
from zart_server.store.new_runs import Root, insert_new_runs, insert_steps

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
    definitions = {run.definition.definition_key: run.definition for run in runs}
    roots = [root for definition in definitions.values() for root in _roots(definition)]
    keys = [(run.run_key, run.definition.definition_key) for run in runs]
    # Of many runs the steps take their time: better spent before the pause lock is taken.
    with_steps = len(runs) <= _FEW
    if not with_steps:
        await insert_steps(tx, keys)
    while True:
        held = await _held(tx, runs)
        if await insert_new_runs(tx, keys, roots, held, tx.pauses.epoch, with_steps=with_steps):
            break
        # The rules changed before we had the lock; now they cannot, so this happens once.
        await tx.pauses.refresh(tx)
    for definition_key, count in Counter(key for _, key in keys).items():
        definition = definitions[definition_key]
        for root in definition.graph.roots:
            # Held ones are told of too: who looks and finds none goes on waiting.
            handler = definition.graph.steps[root].handler
            tx.changes.queued(definition.task_name, handler, count=count)


async def _held(tx: Tx, runs: Sequence[NewRun]) -> list[tuple[int, int, int]]:
    """Give the first steps that a rule withholds, as (run key, step number, rule key)."""
    if await tx.pauses.are_none(tx):
        return []
    first = [(run, root) for run in runs for root in run.definition.graph.roots]
    rules = await tx.pauses.judge(
        tx,
        [
            (run.execution_id, run.definition.task_name, run.definition.queued[root].step_name)
            for run, root in first
        ],
    )
    return [
        (run.run_key, root, rule)
        for (run, root), rule in zip(first, rules, strict=True)
        if rule is not None
    ]


def _roots(definition: Definition) -> list[Root]:
    return [
        Root(definition.definition_key, number, *definition.queued[number])
        for number in definition.graph.roots
    ]
