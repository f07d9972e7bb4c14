"""The general path of a report: records outcomes in a transaction, whatever they are."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from zart_server.domain import doubt
from zart_server.domain.backoff import retry_delay
from zart_server.domain.dispatch import (
    BrokenOff,
    Completed,
    Failed,
    LeasedTask,
    Lost,
    Outcome,
    Released,
    TimedOut,
)
from zart_server.domain.error_kinds import ErrorKind
from zart_server.domain.model import AttemptStatus, StepError
from zart_server.engine.dispatch.enqueue import Ready, enqueue
from zart_server.engine.dispatch.outcome_batch import Ended, OutcomeBatch, Recorded, conclude
from zart_server.engine.dispatch.ready_steps import ReadySteps
from zart_server.store.caches.runs import RunFacts
from zart_server.store.connection import Tx
from zart_server.store.dead_steps import Death, record_deaths
from zart_server.store.end_leases import EndedLease, Verdict, end_leases
from zart_server.store.handler_inputs import keep_short, read_short
from zart_server.store.leases import LeaseKey
from zart_server.store.queue import LaneCursor
from zart_server.store.runs import LockedRun, finish_runs, start_runs
from zart_server.store.slices import in_slices
from zart_server.store.steps import open_dependants
from zart_server.store.stored_graph import Definition

# How often a step may have been given back, by whomever, and keep its place.
_KEEPS_ITS_PLACE = 2


async def record_in_general(
    tx: Tx, batch: OutcomeBatch, *, wait: bool = False, swept: bool = False
) -> Recorded:
    """Record outcomes whose token is current: results, dependants, runs.

    Locks the runs, then the leases, the attempts in doubt whose late outcomes are kept, and the
    pause lock. A run that another transaction has locked is waited for with ``wait``; else its
    outcomes are stragglers. ``swept``: the server found the leases expired; those that were
    extended meanwhile stay.
    """
    ending = _Ending(tx, batch.runs, batch.definitions, batch.outcomes, swept=swept)
    ended = await ending.end(batch.firsts, wait=wait) if batch.firsts else set[int]()
    # Of a run that was waited for and is not locked there is nothing left: it was removed.
    others = (
        set[int]() if wait else {lease.run_key for lease in batch.firsts} - ending.locked.keys()
    )
    recorded = await conclude(
        tx, batch, ended, ending.completed, ending.took, [], others, swept=swept
    )
    # Last, since a Pause waits for whoever has taken the pause lock.
    return replace(recorded, tasks=await ending.enqueue_next())


@dataclass
class _Ending:
    """Outcomes of runs whose facts are at hand."""

    tx: Tx
    runs: Mapping[int, RunFacts]
    definitions: Mapping[int, Definition]
    outcomes: Sequence[Outcome]
    swept: bool = field(kw_only=True)
    locked: dict[int, LockedRun] = field(default_factory=dict)
    took: Ended = field(default_factory=dict)
    completed: Sequence[LeaseKey] = ()
    ready_steps: ReadySteps = field(init=False)

    def __post_init__(self) -> None:
        self.ready_steps = ReadySteps(self.runs, self.definitions, self.outcomes)

    async def end(self, firsts: Mapping[LeaseKey, int], *, wait: bool) -> set[int]:
        """End leases, with all that follows but to enqueue; return the indexes of current ones."""
        verdicts = [self._verdict(lease, self.outcomes[n].ending) for lease, n in firsts.items()]
        self.locked, ended = await end_leases(self.tx, verdicts, wait=wait, swept=self.swept)
        if not ended:
            return set()
        numbers = list(firsts.values())
        found = {numbers[item.verdict - 1]: item for item in ended}
        others = [item for item in ended if item.final != "completed"]
        self.completed = list(firsts)
        if others or len(ended) < len(verdicts):
            done = (item for item in ended if item.final == "completed")
            self.completed = [verdicts[item.verdict - 1].lease for item in done]
        self.took = self._times(verdicts, ended)
        dead = await self._deaths(verdicts, [item for item in others if item.final == "dead"])
        await self._open_dependants(found)
        for n, item in found.items():
            if item.final is None:
                self._requeue(n, item)
        if late := {i.run_key for i in ended if self.locked[i.run_key].status == "scheduled"}:
            # A claim had to skip the run, since another transaction had locked it.
            await start_runs(self.tx, sorted(late))
        await self._finish_runs(ended, dead)
        return set(found)

    async def enqueue_next(self) -> list[tuple[int, LeasedTask]]:
        """Enqueue what is ready now; return what was leased at once, by the outcomes' indexes."""
        return self.ready_steps.leased(await enqueue(self.tx, self.ready_steps.ready))

    def _times(self, verdicts: Sequence[Verdict], ended: Sequence[EndedLease]) -> Ended:
        """Return the seconds that attempts took, by their task and how they ended."""
        if len(self.definitions) == 1 and len(self.completed) == len(ended):
            (definition,) = self.definitions.values()
            return {
                (definition.task_name, AttemptStatus.COMPLETED): [item.seconds for item in ended]
            }
        found: Ended = {}
        for item in ended:
            task = self._definition(self.runs[item.run_key]).task_name
            status = verdicts[item.verdict - 1].status
            found.setdefault((task, status), []).append(item.seconds)
        return found

    def _definition(self, run: RunFacts) -> Definition:
        return self.definitions[run.definition_key]

    def _verdict(self, lease: LeaseKey, ending: object) -> Verdict:
        """Return how an attempt ended, and whether a repeat may cure it."""
        if isinstance(ending, Completed):
            return Verdict(lease, AttemptStatus.COMPLETED, ending.result_json)
        if isinstance(ending, Failed):
            return Verdict(
                lease, AttemptStatus.FAILED, retryable=ending.retryable, error=ending.error
            )
        definition = self._definition(self.runs[lease.run_key])
        stops = lease.step_no in definition.stops
        if isinstance(ending, Released) and (ending.not_begun or not stops):
            return Verdict(lease, AttemptStatus.RELEASED, by_server=ending.by_server)
        status, error = _not_told(ending, definition.queued[lease.step_no].timeout_seconds)
        if stops:
            error = doubt.error_of(error.message)
        return Verdict(lease, status, retryable=not stops, error=error, in_doubt=stops)

    async def _open_dependants(self, found: dict[int, EndedLease]) -> None:
        """Find the steps that are ready now: those with one dependency, and others by counting."""
        needed: dict[tuple[int, int], str] = {}
        counted: dict[tuple[int, int], int] = {}
        last: dict[tuple[int, int], int] = {}
        for n, item in found.items():
            ending = self.outcomes[n].ending
            if not isinstance(ending, Completed):
                continue
            graph = self._definition(self.runs[item.run_key]).graph
            if graph.dependants[item.step_no]:
                needed[item.run_key, item.step_no] = ending.result_json
            others = self.ready_steps.completed(
                item.run_key,
                item.step_no,
                ending.result_json,
                n,
                by_hand=self.locked[item.run_key].by_hand,
            )
            for after in others:
                key = item.run_key, after
                counted[key] = counted.get(key, 0) + 1
                last[key] = n
        keep_short(self.tx, needed)
        if counted:
            opened = [
                (step, last[step.run_key, step.step_no])
                for step in await open_dependants(self.tx, counted)
            ]
            lacking = {key for step, n in opened for key in self.ready_steps.lacks(step, n)}
            if lacking:
                self.ready_steps.read(await read_short(self.tx, sorted(lacking)))
            for step, n in opened:
                self.ready_steps.add_next(step, n)

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
            correction=item.correction,
            place=_place_of(ending, item),
        )
        self.ready_steps.add(ready, n)

    async def _deaths(self, verdicts: Sequence[Verdict], dead: Sequence[EndedLease]) -> list[Death]:
        """Return of which kinds the errors are: of a thousand long ones that takes seconds."""
        version = self.tx.fingerprint.number

        def death(item: EndedLease) -> Death:
            definition = self._definition(self.runs[item.run_key])
            step_name = definition.queued[item.step_no].step_name
            error = verdicts[item.verdict - 1].error
            kind = ErrorKind.of(definition.task_name, step_name, error, version)
            return Death(item.run_key, item.step_no, kind)

        return await in_slices(self.tx, dead, death)

    async def _finish_runs(self, ended: Sequence[EndedLease], dead: Sequence[Death]) -> None:
        """Finish runs in which no step can go on.

        Only runs are asked in which that may be: a step died, or one completed that no other step
        waits for. In a rerun that may be any step, for its dependants may be preserved, and
        so it may where a step was ended by hand.
        """
        deaths = {death.run_key for death in dead}
        if dead:
            await record_deaths(self.tx, dead)
        moving = {item.run_key for item in self.ready_steps.ready}
        maybe = {
            item.run_key
            for item in ended
            if item.run_key not in moving
            and (
                item.run_key in deaths
                or (locked := self.locked[item.run_key]).dead_steps
                or locked.by_hand
                or (run := self.runs[item.run_key]).is_rerun
                or not self._definition(run).graph.dependants[item.step_no]
            )
        }
        if maybe:
            await finish_runs(self.tx, sorted(maybe))


def _place_of(ending: object, item: EndedLease) -> LaneCursor | None:
    """Return the place that a step given back keeps in its lane; None: it goes to the end.

    Who gives it back at once does so as a rule since it stops, or has too much in hand. Whoever
    does so again and again, and leases what stands first, is not to keep all others waiting. Nor is
    a lease that cannot be delivered, as an answer that its dispatcher takes for too large. What the
    server never began to send says nothing of either.
    """
    if not isinstance(ending, Released) or ending.retry_after is not None:
        return None
    if item.not_before is None or item.queue_no is None:  # it was taken as lost
        return None
    was_never_sent = ending.by_server and ending.not_begun
    is_early = item.attempt - item.counted <= _KEEPS_ITS_PLACE
    if was_never_sent or (is_early and (ending.by_server or ending.not_begun)):
        return item.not_before, item.queue_no
    return None


def _not_told(ending: object, limit: float) -> tuple[AttemptStatus, StepError]:
    """Return how an attempt ended of which nobody told whether it had its effect.

    The id of a dispatcher is quoted, and so no part of which errors are the same: it is another one
    for each process.
    """
    if isinstance(ending, TimedOut) or (isinstance(ending, Lost) and ending.is_overdue):
        return AttemptStatus.TIMED_OUT, StepError("TimedOut", f"ran longer than {limit:g} s")
    if isinstance(ending, Lost):
        message = f'the lease of "{ending.dispatcher_id}" expired unreported'
    elif isinstance(ending, BrokenOff):
        message = f'"{ending.dispatcher_id}" stopped while the handler was at work'
    elif isinstance(ending, Released):
        message = "it was given back, and nobody said that it had not begun"
    else:
        raise TypeError(ending)
    return AttemptStatus.LOST, StepError("LeaseLost", message)
