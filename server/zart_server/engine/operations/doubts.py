"""Finds the attempts that keep steps from being run again, and refuses what would do that."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Mapping, Sequence

from zart_server.domain.commands import Rerun, Restart, RetryStep
from zart_server.domain.doubt import Doubt, Finding
from zart_server.domain.errors import StepInDoubt
from zart_server.domain.model import run_id_of
from zart_server.engine.operations.supersede import CurrentRun
from zart_server.store.connection import Tx
from zart_server.store.doubt.earlier import Later, read_found_since
from zart_server.store.doubt.reading import StoredDoubt, read_doubts, read_in_flight
from zart_server.store.queue import lock_queued


async def find_doubts(
    tx: Tx, runs: Iterable[object], *, in_flight: bool = True, earlier: bool = True
) -> Mapping[int, Sequence[Doubt]]:
    """Find attempts of steps that are not completed which may have happened, or have, by run key.

    With ``in_flight`` those in flight, too: whoever ends their run makes them such. With
    ``earlier`` those of earlier runs that were found to have happened after the run had begun: who
    began it accepted what was known by then. Nothing is asked of runs whose steps may all run
    twice. Locks the attempts in doubt, and for those ``in_flight`` the queued tasks.
    """
    stopping = {
        run.run.run_key: run for run in runs if isinstance(run, CurrentRun) and run.definition.stops
    }
    if not stopping:
        return {}
    unfinished = [key for key, run in stopping.items() if not run.run.status.is_finished]
    found: list[StoredDoubt] = []
    if earlier:
        later = [run.run for run in stopping.values() if run.run.run_number > 0]
        found += await read_found_since(
            tx, [Later(run.run_key, run.execution_key, run.run_number) for run in later]
        )
    found += await read_doubts(tx, sorted(stopping))
    if unfinished and in_flight:
        await lock_queued(tx, unfinished)  # what a claim has by now is in flight
        steps = [(key, number) for key in unfinished for number in stopping[key].definition.stops]
        found += await read_in_flight(tx, steps)
    doubts: dict[int, list[Doubt]] = {}
    for item in sorted(found, key=_place):
        graph = stopping[item.run_key].definition.graph
        name = graph.steps[item.step_no].step_name
        doubt = Doubt(
            name, item.attempt, item.ended_as, item.finding, item.found_at, item.run_number
        )
        doubts.setdefault(item.run_key, []).append(doubt)
    return doubts


def _place(item: StoredDoubt) -> tuple[int, int, int, int]:
    """Return what attempts are ordered by: of a step, first those of earlier runs.

    These have happened for sure: that is what a refusal is to tell.
    """
    run_number = sys.maxsize if item.run_number is None else item.run_number
    return item.run_key, item.step_no, run_number, item.attempt


def bound_doubts(doubts: Iterable[Doubt]) -> tuple[tuple[str, Finding | None], ...]:
    """Return what a plan binds of doubts: the steps, each once, and which were found to happen.

    Whoever accepts a doubt does not accept by that to do again what somebody finds to have
    happened.
    """
    return tuple(dict.fromkeys((doubt.step_name, doubt.finding) for doubt in doubts))


def refuse_in_doubt(
    current: CurrentRun,
    doubts: Iterable[Doubt],
    again: Collection[str] | None,
    command: RetryStep | Restart | Rerun,
) -> None:
    """Raise StepInDoubt where a step of ``again`` (None: any) is not to be run again.

    A caller who accepts doubts accepts what is known by then, and a batch reaches its items later:
    what was found to have happened after its ``accepted_at`` nobody meant to do again.
    """
    since = command.accepted_at
    for doubt in doubts:
        is_news = since is not None and doubt.found_at is not None and doubt.found_at > since
        if command.accept_in_doubt and not is_news:
            continue
        if again is None or doubt.step_name in again:
            finding = "" if doubt.finding is None else doubt.finding.value
            run_id = current.run_id
            if doubt.run_number is not None:
                run_id = run_id_of(current.execution.execution_id, doubt.run_number)
            raise StepInDoubt(run_id, doubt.step_name, doubt.attempt, doubt.ended_as, finding)
