"""Records a batch of outcomes in one transaction: results, dependants, runs."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from zart_server.domain.backoff import backoff
from zart_server.domain.commands import Completed, Failed, Lost, Outcome, Released, TimedOut
from zart_server.domain.model import AttemptStatus, ReportStatus, RunStatus, StepError, StepStatus
from zart_server.engine.placing import Ready, place, ready_step
from zart_server.store.db import Tx
from zart_server.store.definitions import Definition
from zart_server.store.queue import Taken, parse_task_id, take
from zart_server.store.runs import LockedRun, count_dead, finish_runs, lock_runs, start_runs
from zart_server.store.steps import EndedAttempt, record_attempts, recorded_tokens

Ref = tuple[int, int, int, str]  # run key, step number, lease token, principal


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of a batch: a status by place, and the places whose run somebody else holds."""

    statuses: dict[int, ReportStatus]
    stragglers: list[int]


async def record_outcomes(
    tx: Tx, outcomes: Sequence[Outcome], *, wait: bool, swept: bool = False
) -> Recorded:
    """Record outcomes whose lease is current and their own; one run's lock holds up only its own.

    Locks the runs, then the queued tasks, then the pause lock. With ``wait`` runs that somebody
    else holds are waited for. ``swept``: the server found the leases expired; those that were
    extended meanwhile stay.
    """
    refs = {n: ref for n, item in enumerate(outcomes) if (ref := _ref(item)) is not None}
    runs = {
        run.run_key: run for run in await lock_runs(tx, [r[0] for r in refs.values()], wait=wait)
    }
    known = {n: ref for n, ref in refs.items() if ref[0] in runs}
    stragglers = [] if wait else [n for n in refs if n not in known]
    statuses = dict.fromkeys(range(len(outcomes)), ReportStatus.LEASE_LOST)
    rows = await take(tx, list(set(known.values())), only_expired=swept) if known else ()
    taken = {(row.run_key, row.step_no, row.lease_token, row.principal): row for row in rows}
    batch: dict[Ref, Outcome] = {}
    for n, ref in known.items():
        if ref in taken and ref not in batch:
            batch[ref] = outcomes[n]
            statuses[n] = ReportStatus.RECORDED
    missed = {n: ref for n, ref in known.items() if statuses[n] is not ReportStatus.RECORDED}
    if batch:
        await _Batch(tx, runs, swept=swept).record([(taken[ref], o) for ref, o in batch.items()])
    if missed and not swept:
        already = await recorded_tokens(tx, list(missed.values()))
        for n, ref in missed.items():
            if ref in already:
                statuses[n] = ReportStatus.ALREADY_RECORDED
    for n in stragglers:
        del statuses[n]
    return Recorded(statuses, stragglers)


def _ref(outcome: Outcome) -> Ref | None:
    parsed = parse_task_id(outcome.task_id)
    if parsed is None:
        return None
    return parsed[0], parsed[1], outcome.lease_token, outcome.principal


class _Batch:
    """Outcomes whose queued tasks this transaction has taken, of runs that it holds."""

    def __init__(self, tx: Tx, runs: dict[int, LockedRun], *, swept: bool) -> None:
        self.tx = tx
        self.runs = runs
        self.swept = swept
        self.definitions: dict[int, Definition] = {}
        self.ready: list[Ready] = []

    async def record(self, items: Sequence[tuple[Taken, Outcome]]) -> None:
        keys = {self.runs[row.run_key].definition_key for row, _ in items}
        self.definitions = await self.tx.definitions.get(self.tx, keys)
        ended = [self._end(row, outcome) for row, outcome in items]
        opened: dict[tuple[int, int], int] = {}
        for attempt in ended:
            if attempt.final is StepStatus.COMPLETED:
                for after in self._definition(attempt.run_key).graph.dependants[attempt.step_no]:
                    key = attempt.run_key, after
                    opened[key] = opened.get(key, 0) + 1
        for run_key, step_no in await record_attempts(self.tx, ended, opened):
            self.ready.append(self._ready(run_key, step_no))
        await self._start_runs(ended)
        await place(self.tx, self.ready)
        await self._finish_runs(ended)
        self.tx.changes.executions.update(self.runs[e.run_key].execution_key for e in ended)

    def _definition(self, run_key: int) -> Definition:
        return self.definitions[self.runs[run_key].definition_key]

    def _ready(self, run_key: int, step_no: int) -> Ready:
        run = self.runs[run_key]
        return ready_step(self._definition(run_key), run.execution_id, run_key, step_no)

    def _end(self, row: Taken, outcome: Outcome) -> EndedAttempt:
        """Judge one outcome; a step that goes back to the queue is added to ``ready``."""
        ending = outcome.ending
        status, error, retryable = _judge(row, outcome)
        counted = row.counted + (status is not AttemptStatus.RELEASED)
        final = None
        if status is AttemptStatus.COMPLETED:
            final = StepStatus.COMPLETED
        elif not retryable or counted >= row.max_attempts:
            final = StepStatus.DEAD
        if final is None:
            self._requeue(row, outcome, counted)
        return EndedAttempt(
            run_key=row.run_key,
            step_no=row.step_no,
            attempt=row.attempt,
            status=status,
            swept=self.swept,
            dispatcher_id=row.dispatcher_id,
            principal=row.principal,
            lease_token=row.lease_token,
            error=error,
            scheduled_at=row.scheduled_at,
            started_at=row.started_at,
            counted=counted,
            max_attempts=row.max_attempts,
            final=final,
            retryable=retryable and final is StepStatus.DEAD,
            result_json=ending.result_json if isinstance(ending, Completed) else None,
        )

    def _requeue(self, row: Taken, outcome: Outcome, counted: int) -> None:
        run = self.runs[row.run_key]
        definition = self._definition(row.run_key)
        ending = outcome.ending
        if isinstance(ending, (Failed, Released)) and ending.retry_after is not None:
            delay = ending.retry_after.total_seconds()
        elif isinstance(ending, Released):
            delay = 0.0
        else:
            policy = definition.graph.steps[row.step_no].retry_policy
            jitter = random.random()  # noqa: S311 - spreads load, guards nothing
            delay = backoff(policy, max(counted - row.backoff_base, 1), jitter).total_seconds()
        self.ready.append(
            ready_step(
                definition,
                run.execution_id,
                row.run_key,
                row.step_no,
                attempt=row.attempt + 1,
                counted=counted,
                backoff_base=row.backoff_base,
                max_attempts=row.max_attempts,
                delay=delay,
            )
        )

    async def _start_runs(self, ended: Sequence[EndedAttempt]) -> None:
        """Set running what a claim had to skip, since somebody held the run row then."""
        late = {e.run_key for e in ended if self.runs[e.run_key].status is RunStatus.SCHEDULED}
        if late:
            await start_runs(self.tx, sorted(late))

    async def _finish_runs(self, ended: Sequence[EndedAttempt]) -> None:
        """Finish runs in which nothing is left to move.

        That is looked for where it can be: after a death, and where a step completed that nothing
        waits for. In a rerun that may be any step: its dependants may be preserved.
        """
        deaths: dict[int, int] = {}
        for attempt in ended:
            if attempt.final is StepStatus.DEAD:
                deaths[attempt.run_key] = deaths.get(attempt.run_key, 0) + 1
        if deaths:
            await count_dead(self.tx, deaths)
        moving = {item.step.run_key for item in self.ready}
        maybe = {
            e.run_key
            for e in ended
            if e.run_key not in moving
            and (
                e.run_key in deaths
                or self.runs[e.run_key].dead_steps
                or self.runs[e.run_key].is_rerun
                or not self._definition(e.run_key).graph.dependants[e.step_no]
            )
        }
        if maybe:
            await finish_runs(self.tx, sorted(maybe))


def _judge(row: Taken, outcome: Outcome) -> tuple[AttemptStatus, StepError | None, bool]:
    """Give how the attempt ended, its error, and whether a repeat may cure it."""
    ending = outcome.ending
    if isinstance(ending, Completed):
        return AttemptStatus.COMPLETED, None, False
    if isinstance(ending, Failed):
        return AttemptStatus.FAILED, ending.error, ending.retryable
    if isinstance(ending, Released):
        return AttemptStatus.RELEASED, None, True
    if isinstance(ending, TimedOut) or (isinstance(ending, Lost) and row.is_overdue):
        message = f"ran longer than {row.timeout_seconds:g} s"
        return AttemptStatus.TIMED_OUT, StepError("TimedOut", message), True
    message = f"the lease of {row.dispatcher_id} expired unreported"
    return AttemptStatus.LOST, StepError("LeaseLost", message), True
