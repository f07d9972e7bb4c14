"""Records a batch of outcomes in one transaction: results, dependants, runs."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from zart_server.domain.backoff import retry_delay
from zart_server.domain.dispatch import (
    Completed,
    Failed,
    LeasedTask,
    Lost,
    Outcome,
    Released,
    TimedOut,
)
from zart_server.domain.model import AttemptStatus, ReportStatus, StepError
from zart_server.engine.dispatch.complete_fast import complete_fast
from zart_server.engine.dispatch.enqueue import Ready, enqueue
from zart_server.engine.dispatch.ready_steps import ReadySteps
from zart_server.store.caches.runs import RunFacts
from zart_server.store.connection import Autocommit, Connection, Tx
from zart_server.store.definitions import find_definitions
from zart_server.store.end_leases import EndedLease, Verdict, end_leases
from zart_server.store.leases import LeaseKey, recorded_leases
from zart_server.store.run_facts import find_run_facts
from zart_server.store.runs import LockedRun, count_dead, finish_runs, start_runs
from zart_server.store.steps import open_dependants
from zart_server.store.stored_graph import Definition


@dataclass(frozen=True, slots=True)
class Recorded:
    """A status by the index of the outcome, and the stragglers, whose run another has locked.

    ``tasks`` were leased at once, each with the index of the outcome that it followed.
    """

    statuses: dict[int, ReportStatus]
    stragglers: list[int]
    tasks: list[tuple[int, LeasedTask]]


async def record_outcomes(connection: Autocommit, outcomes: Sequence[Outcome]) -> Recorded:
    """Record outcomes whose token is current: by the fast path, or else in a transaction.

    Those whose run another transaction has locked are stragglers. Locks as ``complete_fast`` does,
    or as ``record_in_general``.
    """
    known = await _find(connection, outcomes)
    done = await complete_fast(connection, outcomes, known.firsts, known.runs, known.definitions)
    if done is None:
        return await _record(await connection.begin(), known, wait=False, swept=False)
    return await _recorded(connection, known, done.ended, set(), done.tasks, swept=False)


async def record_in_general(
    tx: Tx, outcomes: Sequence[Outcome], *, wait: bool, swept: bool = False
) -> Recorded:
    """Record outcomes whose token is current, whatever they are.

    Locks the runs, then the leases, then the pause lock. A run that another transaction has locked
    is waited for with ``wait``; else its outcomes are stragglers. ``swept``: the server found the
    leases expired; those that were extended meanwhile stay.
    """
    return await _record(tx, await _find(tx, outcomes), wait=wait, swept=swept)


@dataclass(frozen=True, slots=True)
class _Known:
    """Outcomes, the leases that they name, by index, and what is known of their runs."""

    outcomes: Sequence[Outcome]
    leases: Mapping[int, LeaseKey]
    runs: Mapping[int, RunFacts]
    definitions: Mapping[int, Definition]
    firsts: dict[LeaseKey, int]


async def _find(connection: Connection, outcomes: Sequence[Outcome]) -> _Known:
    leases = {n: lease for n, item in enumerate(outcomes) if (lease := _lease(item)) is not None}
    runs = await find_run_facts(connection, {lease.run_key for lease in leases.values()})
    keys = {run.definition_key for run in runs.values()}
    definitions = await find_definitions(connection, keys)
    return _Known(outcomes, leases, runs, definitions, _firsts(leases, runs, definitions))


async def _record(tx: Tx, known: _Known, *, wait: bool, swept: bool) -> Recorded:
    batch = _Batch(tx, known.runs, known.definitions, known.outcomes, swept=swept)
    ended = await batch.end(known.firsts, wait=wait) if known.firsts else set()
    locked = {lease.run_key for lease in known.firsts} - batch.locked.keys()
    return await _recorded(tx, known, ended, locked, batch.tasks, swept=swept)


async def _recorded(
    connection: Connection,
    known: _Known,
    ended: set[int],
    locked: set[int],
    tasks: list[tuple[int, LeasedTask]],
    *,
    swept: bool,
) -> Recorded:
    """Return the status of each outcome; ``locked`` are the runs that others have locked."""
    leases = known.leases
    stragglers = [n for n, lease in leases.items() if lease.run_key in locked]
    statuses = dict.fromkeys(range(len(known.outcomes)), ReportStatus.LEASE_LOST)
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
    return Recorded(statuses, stragglers, tasks)


def _firsts(
    leases: Mapping[int, LeaseKey],
    runs: Mapping[int, RunFacts],
    definitions: Mapping[int, Definition],
) -> dict[LeaseKey, int]:
    """Return the leases of steps that exist. Of two outcomes of one lease the first stands."""
    firsts: dict[LeaseKey, int] = {}
    for n, lease in leases.items():
        run = runs.get(lease.run_key)
        if run is not None and lease.step_no < len(definitions[run.definition_key].queued):
            firsts.setdefault(lease, n)
    return firsts


def _lease(outcome: Outcome) -> LeaseKey | None:
    return LeaseKey.of_task(outcome.task_id, outcome.lease_token, outcome.principal)


@dataclass
class _Batch:
    """Outcomes of runs whose facts are at hand."""

    tx: Tx
    runs: Mapping[int, RunFacts]
    definitions: Mapping[int, Definition]
    outcomes: Sequence[Outcome]
    swept: bool = field(kw_only=True)
    locked: dict[int, LockedRun] = field(default_factory=dict)
    tasks: list[tuple[int, LeasedTask]] = field(default_factory=list)
    ready_steps: ReadySteps = field(init=False)

    def __post_init__(self) -> None:
        self.ready_steps = ReadySteps(self.runs, self.definitions, self.outcomes)

    async def end(self, firsts: dict[LeaseKey, int], *, wait: bool) -> set[int]:
        """End leases with all that follows; return the indexes of those that were current."""
        verdicts = [self._verdict(lease, self.outcomes[n].ending) for lease, n in firsts.items()]
        self.locked, ended = await end_leases(self.tx, verdicts, wait=wait, swept=self.swept)
        if not ended:
            return set()
        found = {firsts[item.lease]: item for item in ended}
        await self._open_dependants(found)
        for n, item in found.items():
            if item.final is None:
                self._requeue(n, item)
        if late := {i.run_key for i in ended if self.locked[i.run_key].status == "scheduled"}:
            # A claim had to skip the run, since another transaction had locked it.
            await start_runs(self.tx, sorted(late))
        await self._finish_runs(ended)
        # Last, since a Pause waits for whoever has taken the pause lock.
        leases = await enqueue(self.tx, self.ready_steps.ready)
        self.tasks = self.ready_steps.leased(leases)
        return set(found)

    def _definition(self, run: RunFacts) -> Definition:
        return self.definitions[run.definition_key]

    def _verdict(self, lease: LeaseKey, ending: object) -> Verdict:
        """Return how an attempt ended, and whether a repeat may cure it."""
        if isinstance(ending, Completed):
            return Verdict(lease, AttemptStatus.COMPLETED, result_json=ending.result_json)
        if isinstance(ending, Failed):
            return Verdict(
                lease, AttemptStatus.FAILED, retryable=ending.retryable, error=ending.error
            )
        if isinstance(ending, Released):
            return Verdict(lease, AttemptStatus.RELEASED)
        if isinstance(ending, TimedOut) or (isinstance(ending, Lost) and ending.is_overdue):
            definition = self._definition(self.runs[lease.run_key])
            limit = definition.queued[lease.step_no].timeout_seconds
            error = StepError("TimedOut", f"ran longer than {limit:g} s")
            return Verdict(lease, AttemptStatus.TIMED_OUT, error=error)
        if isinstance(ending, Lost):
            message = f"the lease of {ending.dispatcher_id} expired unreported"
            return Verdict(lease, AttemptStatus.LOST, error=StepError("LeaseLost", message))
        raise TypeError(ending)

    async def _open_dependants(self, found: dict[int, EndedLease]) -> None:
        """Find the steps that are ready now: those with one dependency, and others by counting."""
        counted: dict[tuple[int, int], int] = {}
        last: dict[tuple[int, int], int] = {}
        for n, item in found.items():
            ending = self.outcomes[n].ending
            if not isinstance(ending, Completed):
                continue
            others = self.ready_steps.completed(item.run_key, item.step_no, ending.result_json, n)
            for after in others:
                key = item.run_key, after
                counted[key] = counted.get(key, 0) + 1
                last[key] = n
        if counted:
            for key in await open_dependants(self.tx, counted):
                self.ready_steps.add_next(*key, last[key])

    def _requeue(self, n: int, item: EndedLease) -> None:
        run = self.runs[item.run_key]
        definition = self._definition(run)
        ending = self.outcomes[n].ending
        if isinstance(ending, (Failed, Released)) and ending.retry_after is not None:
            delay = ending.retry_after.total_seconds()
        elif isinstance(ending, Released):
            delay = 0.0
        else:
            policy = definition.graph.steps[item.step_no].retry_policy
            jitter = random.random()  # noqa: S311 - spreads load, guards nothing
            tries = max(item.counted - item.backoff_base, 1)
            delay = retry_delay(policy, tries, jitter).total_seconds()
        ready = Ready(
            definition,
            run.execution_id,
            item.run_key,
            item.step_no,
            attempt=item.attempt + 1,
            counted=item.counted,
            backoff_base=item.backoff_base,
            max_attempts=item.max_attempts,
            delay=delay,
        )
        self.ready_steps.add(ready, n)

    async def _finish_runs(self, ended: Sequence[EndedLease]) -> None:
        """Finish runs in which no step can go on.

        Only runs are asked in which that may be: a step died, or one completed that no other step
        waits for. In a rerun that may be any step: its dependants may be preserved.
        """
        deaths: dict[int, int] = {}
        for item in ended:
            if item.final == "dead":
                deaths[item.run_key] = deaths.get(item.run_key, 0) + 1
        if deaths:
            await count_dead(self.tx, deaths)
        moving = {item.run_key for item in self.ready_steps.ready}
        maybe = {
            item.run_key
            for item in ended
            if item.run_key not in moving
            and (
                item.run_key in deaths
                or self.locked[item.run_key].dead_steps
                or (run := self.runs[item.run_key]).is_rerun
                or not self._definition(run).graph.dependants[item.step_no]
            )
        }
        if maybe:
            await finish_runs(self.tx, sorted(maybe))
