"""A batch of outcomes with what is at hand of their runs, and what became of each."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from zart_server.domain.dispatch import Completed, LeasedTask, Outcome
from zart_server.domain.doubt import late_outcome_of
from zart_server.domain.model import AttemptStatus, ReportStatus
from zart_server.store.caches.runs import RunFacts
from zart_server.store.connection import Connection
from zart_server.store.definitions import find_definitions
from zart_server.store.doubt.late_outcomes import TooLate, keep_late_outcomes
from zart_server.store.leases import LeaseKey, recorded_leases
from zart_server.store.run_facts import find_run_facts
from zart_server.store.stored_graph import Definition

# Steps that one statement enqueues: 500,000, which 50 outcomes can make ready, held the event loop
# for two seconds, and the pause lock for as long.
_MOST_READY = 5_000
# The seconds that attempts took, by their task and how they ended.
Ended: TypeAlias = dict[tuple[str, AttemptStatus], list[float]]


@dataclass(frozen=True, slots=True)
class OutcomeBatch:
    """Outcomes, the lease that each names, by index, and what is known of their runs.

    ``firsts``: the leases of steps that exist, each with the index of its outcome; of two outcomes
    of one lease the first stands.
    """

    outcomes: Sequence[Outcome]
    leases: Mapping[int, LeaseKey]
    runs: Mapping[int, RunFacts]
    definitions: Mapping[int, Definition]
    firsts: Mapping[LeaseKey, int]

    @property
    def is_wide(self) -> bool:
        """Whether they may make more steps ready than are to be enqueued at once.

        Of most batches that is plain without a look at each outcome.
        """
        widest = max((each.widest for each in self.definitions.values()), default=0)
        return widest * len(self.firsts) > _MOST_READY and self._dependants() > _MOST_READY

    def _dependants(self) -> int:
        """Return how many steps depend on those that were completed, each counted once a run."""
        alone = 0
        others: set[tuple[int, int]] = set()
        for (run_key, step_no, *_), n in self.firsts.items():
            if not isinstance(self.outcomes[n].ending, Completed):
                continue
            graph = self.definitions[self.runs[run_key].definition_key].graph
            after = graph.dependants[step_no]
            if after and len(graph.depends_on[after[0]]) > 1:  # as a rule all of them, or none
                others.update((run_key, each) for each in after)
            else:
                alone += len(after)
        return alone + len(others)

    def task_of(self, run_key: int) -> str:
        """Return the task of a run of the batch."""
        return self.definitions[self.runs[run_key].definition_key].task_name


@dataclass(frozen=True, slots=True)
class Recorded:
    """A status by the index of the outcome, and the stragglers, for a transaction that waits.

    Another has locked their run, or they may have to be kept for a doubt.

    ``tasks`` were leased at once, each with the index of the outcome that it followed. ``ended``
    has the seconds that the attempts took which ended, by their task and how they did;
    ``completed`` has the leases of those that completed their step.
    """

    statuses: dict[int, ReportStatus]
    stragglers: list[int]
    tasks: list[tuple[int, LeasedTask]]
    ended: Ended
    completed: Sequence[LeaseKey]


async def find_batch(connection: Connection, outcomes: Sequence[Outcome]) -> OutcomeBatch:
    """Find what both ways of recording have to know of outcomes; it never changes."""
    leases = {n: lease for n, item in enumerate(outcomes) if (lease := lease_of(item)) is not None}
    runs = await find_run_facts(connection, {lease.run_key for lease in leases.values()})
    keys = {run.definition_key for run in runs.values()}
    definitions = await find_definitions(connection, keys)
    firsts: dict[LeaseKey, int] = {}
    for n, lease in leases.items():
        run = runs.get(lease.run_key)
        if run is not None and lease.step_no < len(definitions[run.definition_key].queued):
            firsts.setdefault(lease, n)
    return OutcomeBatch(outcomes, leases, runs, definitions, firsts)


def lease_of(outcome: Outcome) -> LeaseKey | None:
    """Return the lease that an outcome names; None: it names none."""
    return LeaseKey.of_task(outcome.task_id, outcome.lease_token, outcome.principal)


async def conclude(
    connection: Connection,
    batch: OutcomeBatch,
    ended: Collection[int],
    completed: Sequence[LeaseKey],
    took: Ended,
    tasks: list[tuple[int, LeasedTask]],
    locked: Collection[int] = (),
    *,
    swept: bool = False,
    is_committed: bool = False,
) -> Recorded:
    """Return what became of each outcome, given those whose lease ended and what is known of them.

    ``locked`` are the runs that other transactions have locked. Of the rest those are looked up
    that may be repeats, unless the server itself ``swept`` their leases. Where what ended
    ``is_committed`` nothing is written here: a conflict would have it all repeated, and what it
    leased would be nobody's. Outcomes that may have to be kept for a doubt are stragglers then.
    What is found recorded is on the synchronous standby before it is told: whoever ended leases
    has locked their runs for that, which is to be committed as well (``store.standby``).
    """
    leases = batch.leases
    stragglers = [
        n
        for n, lease in leases.items()
        if lease.run_key in locked or (is_committed and n not in ended and _stops(batch, lease))
    ]
    statuses = dict.fromkeys(range(len(batch.outcomes)), ReportStatus.LEASE_LOST)
    for n in ended:
        statuses[n] = ReportStatus.RECORDED
    for n in stragglers:
        del statuses[n]
    missed = {n: leases[n] for n in statuses if n not in ended and n in leases}
    if missed and not swept:
        already = await recorded_leases(connection, list(missed.values()))
        for n, lease in missed.items():
            if lease in already:
                statuses[n] = ReportStatus.ALREADY_RECORDED
        for n in await _kept_for_doubt(connection, batch, missed):
            statuses[n] = ReportStatus.LEASE_LOST
    return Recorded(statuses, stragglers, tasks, took, completed)


async def _kept_for_doubt(
    connection: Connection, batch: OutcomeBatch, missed: Mapping[int, LeaseKey]
) -> list[int]:
    """Keep the outcomes of attempts that are in doubt; return their indexes."""
    late = {n: lease for n, lease in missed.items() if _stops(batch, lease)}
    if not late:
        return []
    reported = [
        TooLate(lease, late_outcome_of(batch.outcomes[n].ending)) for n, lease in late.items()
    ]
    numbers = list(late)
    return [numbers[index] for index in await keep_late_outcomes(connection, reported)]


def _stops(batch: OutcomeBatch, lease: LeaseKey) -> bool:
    run = batch.runs.get(lease.run_key)
    return run is not None and lease.step_no in batch.definitions[run.definition_key].stops
