"""Finds the attempts that keep steps from being run again, and refuses what would do that."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from zart_server.domain.commands import Rerun, Restart, RetryStep
from zart_server.domain.doubt import Doubt, Finding
from zart_server.domain.errors import StepInDoubt
from zart_server.domain.model import run_id_of
from zart_server.engine.operations.supersede import CurrentRun
from zart_server.store.connection import Tx
from zart_server.store.doubt.earlier import HappenedEarlier, Later, lock_found_since
from zart_server.store.doubt.reading import StoredDoubt, lock_doubts, read_in_flight
from zart_server.store.queue import lock_queued


class _Asked(NamedTuple):
    """A run whose doubts are wanted. ``step_no``: of this step only."""

    current: CurrentRun
    step_no: int | None = None

    @property
    def run_key(self) -> int:
        return self.current.run.run_key

    @property
    def step_name(self) -> str | None:
        graph = self.current.definition.graph
        return None if self.step_no is None else graph.steps[self.step_no].step_name


async def find_doubts(
    tx: Tx, runs: Iterable[object], *, earlier: bool = True
) -> Mapping[int, Sequence[Doubt]]:
    """Find attempts of steps that are not completed which may have happened, or have, by run key.

    Also those in flight: whoever ends their run makes them such. With ``earlier`` those of earlier
    runs that were found to have happened after the run had begun: who began it accepted what was
    known by then. Nothing is asked of runs whose steps may all run twice. Locks the attempts in
    doubt and the queued tasks.
    """
    asked = _stopping(_Asked(run) for run in runs if isinstance(run, CurrentRun))
    if not asked:
        return {}
    found = await _locked(tx, asked, earlier=earlier)
    unfinished = [run for run in asked if not run.current.run.status.is_finished]
    if unfinished:
        await lock_queued(tx, [run.run_key for run in unfinished])  # a claim's are in flight now
        steps = [(run.run_key, n) for run in unfinished for n in run.current.definition.stops]
        found += await read_in_flight(tx, steps)
    return _by_run(asked, found)


async def find_doubts_of_steps(
    tx: Tx, steps: Iterable[tuple[CurrentRun, int]], *, earlier: bool = True
) -> Mapping[int, Sequence[Doubt]]:
    """Find of one step of each run, by its number, what ``find_doubts`` does but what is in flight.

    Locks the attempts in doubt of these steps, and no others: of a run there may be thousands, and
    a batch that comes to each of its steps would go through them all each time.
    """
    asked = _stopping(_Asked(run, step_no) for run, step_no in steps)
    return _by_run(asked, await _locked(tx, asked, earlier=earlier)) if asked else {}


def _stopping(asked: Iterable[_Asked]) -> list[_Asked]:
    return [item for item in asked if item.current.definition.stops]


async def _locked(tx: Tx, asked: Sequence[_Asked], *, earlier: bool) -> list[StoredDoubt]:
    found: list[StoredDoubt] = []
    if earlier:
        later = [
            Later(item.run_key, item.step_no, item.step_name)
            for item in asked
            if item.current.run.run_number > 0
        ]
        found += map(_of_earlier, await lock_found_since(tx, later))
    return found + await lock_doubts(tx, [(item.run_key, item.step_no) for item in asked])


def _of_earlier(item: HappenedEarlier) -> StoredDoubt:
    happened = Finding.HAPPENED, item.found_at, item.run_number
    return StoredDoubt(item.run_key, item.step_no, item.attempt, item.ended_as, *happened)


def _by_run(asked: Sequence[_Asked], found: Sequence[StoredDoubt]) -> Mapping[int, Sequence[Doubt]]:
    graphs = {item.run_key: item.current.definition.graph for item in asked}
    doubts: dict[int, list[Doubt]] = {}
    for item in sorted(found, key=_place):
        name = graphs[item.run_key].steps[item.step_no].step_name
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
