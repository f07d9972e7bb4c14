"""Records a batch of outcomes in one transaction: results, dependants, runs."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from zart_server.domain.backoff import backoff
from zart_server.domain.commands import (
    Completed,
    Failed,
    LeasedTask,
    Lost,
    Outcome,
    Released,
    TimedOut,
)
from zart_server.domain.model import AttemptStatus, ReportStatus, StepError
from zart_server.engine.dispatch.complete_fast import pass_on
from zart_server.engine.dispatch.enqueue import Ready, place
from zart_server.engine.dispatch.ready_steps import Followers
from zart_server.store.caches.runs import RunFacts
from zart_server.store.db import Tx
from zart_server.store.definitions import Definition
from zart_server.store.end_leases import Ended, Told, end_leases
from zart_server.store.leases import LeaseKey, recorded_leases
from zart_server.store.queue import parse_task_id
from zart_server.store.runs import LockedRun, count_dead, finish_runs, start_runs
from zart_server.store.steps import open_dependants


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of a batch: a status by place, and the places whose run somebody else holds.

    ``tasks`` are what was leased at once, each with the place of the outcome that it followed.
    """

    statuses: dict[int, ReportStatus]
    stragglers: list[int]
    tasks: list[tuple[int, LeasedTask]]


async def record_outcomes(
    tx: Tx, outcomes: Sequence[Outcome], *, wait: bool, swept: bool = False
) -> Recorded:
    """Record outcomes whose token is current; one run's lock holds up only its own.

    Locks the runs, then the leases, then the pause lock. With ``wait`` runs that somebody else
    holds are waited for. ``swept``: the server found the leases expired; those that were extended
    meanwhile stay. A transaction that has not begun begins where one statement is not enough.
    """
    leases = {n: lease for n, item in enumerate(outcomes) if (lease := _lease(item)) is not None}
    runs = await tx.runs.get(tx, {lease[0] for lease in leases.values()})
    definitions = await tx.definitions.get(tx, {run.definition_key for run in runs.values()})
    firsts = _firsts(leases, runs, definitions)
    passed = None
    if not tx.has_begun:
        passed = await pass_on(tx, outcomes, firsts, runs, definitions)
    if passed is not None:
        ended, tasks, held = passed.ended, passed.tasks, set[int]()
    else:
        if not tx.has_begun:
            await tx.begin()
        batch = _Batch(tx, runs, definitions, outcomes, swept=swept)
        ended = await batch.end(firsts, wait=wait) if firsts else set()
        tasks = batch.tasks
        held = {lease[0] for lease in firsts} - batch.locked.keys()
    stragglers = [n for n, lease in leases.items() if lease[0] in held]
    statuses = dict.fromkeys(range(len(outcomes)), ReportStatus.LEASE_LOST)
    for n in ended:
        statuses[n] = ReportStatus.RECORDED
    for n in stragglers:
        del statuses[n]
    missed = {n: leases[n] for n in statuses if n not in ended and n in leases}
    if missed and not swept:
        already = await recorded_leases(tx, list(missed.values()))
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
        run = runs.get(lease[0])
        if run is not None and lease[1] < len(definitions[run.definition_key].queued):
            firsts.setdefault(lease, n)
    return firsts


def _lease(outcome: Outcome) -> LeaseKey | None:
    parsed = parse_task_id(outcome.task_id)
    if parsed is None:
        return None
    return parsed[0], parsed[1], outcome.lease_token, outcome.principal


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
    followers: Followers = field(init=False)

    def __post_init__(self) -> None:
        self.followers = Followers(self.runs, self.definitions, self.outcomes)

    async def end(self, firsts: dict[LeaseKey, int], *, wait: bool) -> set[int]:
        """End leases and do whatever follows; give the places of those that were current."""
        told = [self._told(lease, self.outcomes[n].ending) for lease, n in firsts.items()]
        self.locked, ended = await end_leases(self.tx, told, wait=wait, swept=self.swept)
        if not ended:
            return set()
        found = {firsts[item.lease]: item for item in ended}
        await self._open_dependants(found)
        for n, item in found.items():
            if item.final is None:
                self._requeue(n, item)
        if late := {i.run_key for i in ended if self.locked[i.run_key].status == "scheduled"}:
            # A claim had to skip the run, since somebody held its row then.
            await start_runs(self.tx, sorted(late))
        await self._finish_runs(ended)
        # Last, since a Pause waits for whoever has taken the pause lock.
        placed = await place(self.tx, self.followers.ready)
        self.tasks = self.followers.leased(placed.leases)
        return set(found)

    def _definition(self, run: RunFacts) -> Definition:
        return self.definitions[run.definition_key]

    def _told(self, lease: LeaseKey, ending: object) -> Told:
        """Judge how an attempt ended, and whether a repeat may cure it."""
        if isinstance(ending, Completed):
            return Told(lease, AttemptStatus.COMPLETED, result_json=ending.result_json)
        if isinstance(ending, Failed):
            return Told(lease, AttemptStatus.FAILED, retryable=ending.retryable, error=ending.error)
        if isinstance(ending, Released):
            return Told(lease, AttemptStatus.RELEASED)
        if isinstance(ending, TimedOut) or (isinstance(ending, Lost) and ending.is_overdue):
            limit = self._definition(self.runs[lease[0]]).queued[lease[1]].timeout_seconds
            error = StepError("TimedOut", f"ran longer than {limit:g} s")
            return Told(lease, AttemptStatus.TIMED_OUT, error=error)
        if isinstance(ending, Lost):
            message = f"the lease of {ending.dispatcher_id} expired unreported"
            return Told(lease, AttemptStatus.LOST, error=StepError("LeaseLost", message))
        raise TypeError(ending)

    async def _open_dependants(self, found: dict[int, Ended]) -> None:
        """Find what is ready now: at once where a step waited for one alone, else by counting."""
        counted: dict[tuple[int, int], int] = {}
        last: dict[tuple[int, int], int] = {}
        for n, item in found.items():
            ending = self.outcomes[n].ending
            if not isinstance(ending, Completed):
                continue
            followers = self.followers.completed(item.run_key, item.step_no, ending.result_json, n)
            for after in followers:
                key = item.run_key, after
                counted[key] = counted.get(key, 0) + 1
                last[key] = n
        if counted:
            for key in await open_dependants(self.tx, counted):
                self.followers.add_next(*key, last[key])

    def _requeue(self, n: int, item: Ended) -> None:
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
            delay = backoff(policy, tries, jitter).total_seconds()
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
        self.followers.add(ready, n)

    async def _finish_runs(self, ended: Sequence[Ended]) -> None:
        """Finish runs in which nothing is left to move.

        That is looked for where it can be: after a death, and where a step completed that nothing
        waits for. In a rerun that may be any step: its dependants may be preserved.
        """
        deaths: dict[int, int] = {}
        for item in ended:
            if item.final == "dead":
                deaths[item.run_key] = deaths.get(item.run_key, 0) + 1
        if deaths:
            await count_dead(self.tx, deaths)
        moving = {item.run_key for item in self.followers.ready}
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
