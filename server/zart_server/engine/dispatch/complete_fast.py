"""Passes on from completed steps to the next ones, or to their run's end, in one statement.

Without a transaction: most outcomes that come one by one are such, and a round trip is felt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from zart_server.domain.commands import Completed, LeasedTask, Outcome
from zart_server.domain.model import AttemptStatus
from zart_server.engine.dispatch.enqueue import judge, placements
from zart_server.engine.dispatch.ready_steps import Followers
from zart_server.store.caches.runs import RunFacts
from zart_server.store.db import Tx
from zart_server.store.definitions import Definition
from zart_server.store.end_leases import Told, end_and_place
from zart_server.store.leases import LeaseKey

_FEW = 50


@dataclass(frozen=True, slots=True)
class PassedOn:
    """The places of what was recorded, and what was leased, by the place of what led to it."""

    ended: set[int]
    tasks: list[tuple[int, LeasedTask]]


async def pass_on(
    tx: Tx,
    outcomes: Sequence[Outcome],
    firsts: Mapping[LeaseKey, int],
    runs: Mapping[int, RunFacts],
    definitions: Mapping[int, Definition],
) -> PassedOn | None:
    """Record completed steps, by lease and place, whose runs go on or are completed by that alone.

    None, doing nothing, where it takes more: a step that is retried, or of a rerun; one after it
    that waits for others as well; a run that somebody holds; rules that have changed. And where
    there are many, which would keep a Pause waiting, since the pause lock is taken before they are
    ended.
    """
    lasts = _lasts(firsts, runs, definitions) if 0 < len(firsts) <= _FEW else None
    if lasts is None:
        return None
    followers = Followers(runs, definitions, outcomes)
    told = []
    for lease, n in firsts.items():
        ending = outcomes[n].ending
        if not isinstance(ending, Completed):
            return None
        told.append(Told(lease, AttemptStatus.COMPLETED, result_json=ending.result_json))
        followers.completed(lease[0], lease[1], ending.result_json, n)
    rules = await judge(tx, followers.ready)
    places = {n: place for place, n in enumerate(firsts.values(), 1)}
    ready = placements(followers.ready, rules)
    ready.after = [places[n] for n in followers.after]
    followed = await end_and_place(tx, told, lasts, ready, tx.pauses.epoch)
    if followed is None:
        return None
    ended = {n for lease, n in firsts.items() if (lease[0], lease[1]) in followed.ended}
    for n, item, rule in zip(followers.after, followers.ready, rules, strict=True):
        if n in ended and rule is None:
            item.tell_of(tx)
    return PassedOn(ended, followers.leased(followed.leases))


def _lasts(
    firsts: Mapping[LeaseKey, int],
    runs: Mapping[int, RunFacts],
    definitions: Mapping[int, Definition],
) -> list[int] | None:
    """Return the indexes, from 1, of the last steps of their runs; None: one needs more."""
    lasts = []
    for place, (run_key, step_no, _, _) in enumerate(firsts, 1):
        run = runs[run_key]
        graph = definitions[run.definition_key].graph
        after = graph.dependants[step_no]
        if run.is_rerun:  # what is preserved lets later steps run before earlier ones
            return None
        if graph.sinks == (step_no,):
            # All others lead to it, so all of them are completed.
            lasts.append(place)
        elif not after or any(len(graph.depends_on[dep]) > 1 for dep in after):
            return None
    return lasts
