"""Runs steps in process, through the dispatcher's own code: values go through JSON as they will."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from zart.calls.call import span
from zart.calls.payload import json_text
from zart.calls.several import several
from zart.dispatcher.handlers import run_handler
from zart.dispatcher.in_hand import InHand, in_hand_of
from zart.dispatcher.outcomes import failed_with, timed_out
from zart.dispatcher.stopping import CLEAN_UP
from zart.dispatcher.threads import Threads
from zart.dispatcher.time_limits import TimeLimits
from zart.errors import RunFailed
from zart.json_values import value_of
from zart.models import IfInDoubt, Json, Run, RunStatus, RunTrigger
from zart.step_context import Payload, Step, StepContext
from zart.tasks import Result, Task
from zart.v1 import dispatch_service_pb2 as pb

_LEASE = 3600.0
_MOST_THREADS = 500  # of plain steps that are at work at once, or go on beyond their time


def context(
    *,
    payload: Payload | None = None,
    input: Json = None,  # noqa: A002 - the name it has in StepContext
    results: Mapping[Step[Any, Any] | str, Json] | None = None,
    skipped: Iterable[Step[Any, Any] | str] = (),
    step_name: str = "step",
    execution_id: str = "test",
    run_number: int = 0,
    attempt: int = 1,
    max_attempts: int = 3,
    timeout: float = 600.0,
) -> StepContext[Payload]:
    """Make what a step is given: ``charge_card(zart.testing.context(results={lookup: {...}}))``.

    ``results`` are those of the steps that it depends on, by step or by name; ``skipped`` are those
    of them that an operator skipped.
    """
    names = list(map(_name, several(skipped)))
    task = pb.LeasedTask(
        upstream_json=dict.fromkeys(names, "null"),
        upstream_skipped=names,
        execution_id=execution_id,
        run_id=f"{execution_id}:run:{run_number}",
        run_number=run_number,
        step_name=step_name,
        attempt=attempt,
        max_attempts=max_attempts,
        timeout=span(timeout),
    )
    made: StepContext[Payload] = StepContext(task, datetime.now(UTC))
    # What is given is taken as it is: a test may use what is not JSON.
    made._payload = payload  # noqa: SLF001 - the testing kit's half of it
    made._input = input  # noqa: SLF001 - likewise
    made._results.update({_name(step): value for step, value in (results or {}).items()})  # noqa: SLF001 - likewise
    return made


def _name(step: Step[Any, Any] | str) -> str:
    return step if isinstance(step, str) else step.name


async def run(
    task: Task[Payload, Result],
    payload: Payload | None = None,
    *,
    results: Mapping[Step[Any, Any] | str, Json] | None = None,
    execution_id: str = "test",
) -> Result:
    """Run a whole task in process and return the run's result.

    Steps run as soon as what they depend on is done, attempts are repeated without a wait, time
    limits hold: a plain step that goes on beyond its own is left behind, and repeated, but for one
    declared ``once``. ``results`` stand for steps that are not to run. If it is cancelled, steps
    are broken off as a dispatcher's are. Raises RunFailed, and ValueError for the result of a step
    that the task has not.
    """
    found: Result = await _InProcess(task, payload, results or {}, execution_id).run()
    return found


class _InProcess:
    def __init__(
        self,
        task: Task,
        payload: Json,
        results: Mapping[Step[Any, Any] | str, Json],
        execution_id: str,
    ) -> None:
        self._task = task
        self._payload = json_text(payload)
        self._execution_id = execution_id
        self._results = {_name(step): json_text(value) for step, value in results.items()}
        if unknown := self._results.keys() - task.steps.keys():
            raise ValueError(f"{task!r} has no step {', '.join(map(repr, sorted(unknown)))}")
        self._dead: dict[str, str] = {}  # in the order of their deaths
        self._running: set[InHand] = set()
        self._limits = TimeLimits(self._running)

    async def run(self) -> Json:
        begun = datetime.now(UTC)
        # A thread for each attempt: the time of one that has none would pass all the same, and one
        # whose time is up keeps its own.
        attempts = sum(step.spec.retry.max_attempts for step in self._task.steps.values())
        threads = Threads(min(max(1, attempts), _MOST_THREADS))
        running: dict[asyncio.Task[None], str] = {}
        try:
            await self._run_steps(running, threads)
        finally:
            await self._break_off(running)
            threads.close()
        if self._dead:
            raise RunFailed(self._failed(begun))
        return self._result()

    async def _run_steps(self, running: dict[asyncio.Task[None], str], threads: Threads) -> None:
        begun_steps = set(self._results)
        while True:
            for name, step in self._task.steps.items():
                if name not in begun_steps and self._results.keys() >= {*step.spec.depends_on}:
                    begun_steps.add(name)
                    running[asyncio.create_task(self._step(step, threads))] = name
            if not running:
                break
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for ended in done:
                del running[ended]
                ended.result()

    async def _break_off(self, running: Collection[asyncio.Task[None]]) -> None:
        """Stop what is still at work: the run is cancelled, or has failed.

        A plain function cannot be stopped, and is left behind: it may look at ``ctx.cancelled``.
        """
        self._limits.stop()
        at_work = {*running}
        for in_hand in self._running:
            in_hand.lose()
            if in_hand.running is not None:
                at_work.add(in_hand.running)
        for task in at_work:
            task.cancel()
        if at_work:
            await asyncio.wait(at_work, timeout=CLEAN_UP)

    async def _step(self, step: Step[Any, Any], threads: Threads) -> None:
        stops = step.spec.if_in_doubt == IfInDoubt.STOP
        for attempt in range(1, step.spec.retry.max_attempts + 1):
            outcome = await self._attempt(step, attempt, threads)
            if outcome.HasField("completed"):
                self._results[step.name] = outcome.completed.result_json
                return
            is_dead = stops if outcome.HasField("timed_out") else not outcome.failed.retryable
            if is_dead:
                break
        error = outcome.failed.error.message or outcome.failed.error.type
        if outcome.HasField("timed_out"):  # in the server's words
            seconds = span(step.spec.timeout).ToTimedelta().total_seconds()
            error = f"ran longer than {seconds:g} s"
            error += ": it may have had its effect" if stops else ""
        self._dead[step.name] = f"{step.name}: {error}"

    async def _attempt(
        self, step: Step[Any, Any], attempt: int, threads: Threads
    ) -> pb.TaskOutcome:
        spec = step.spec
        task = pb.LeasedTask(
            execution_id=self._execution_id,
            run_id=f"{self._execution_id}:run:0",
            task_name=self._task.name,
            step_name=step.name,
            attempt=attempt,
            max_attempts=spec.retry.max_attempts,
            payload_json=self._payload,
            input_json=None if spec.input is None else json_text(spec.input),
            upstream_json={name: self._results[name] for name in spec.depends_on},
            timeout=span(spec.timeout),
            lease_ttl=span(_LEASE),
        )
        (in_hand,) = in_hand_of([task], time.monotonic())
        told: asyncio.Future[pb.TaskOutcome] = asyncio.get_running_loop().create_future()

        def tell(_: InHand, outcome: pb.TaskOutcome) -> None:
            if not told.done():  # what is told later changes nothing
                told.set_result(outcome)

        self._running.add(in_hand)
        self._limits.begin(in_hand)
        running = in_hand.running = asyncio.create_task(run_handler(in_hand, step, threads, tell))
        running.add_done_callback(lambda _: self._running.discard(in_hand))
        # A plain step whose time is up tells so at once, and may block on.
        first: set[asyncio.Future[Any]] = {running, told}
        await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        if in_hand.lost:  # the run is broken off
            raise asyncio.CancelledError
        outcome = told.result() if told.done() else _broken_off(in_hand, running)
        if outcome.HasField("released"):
            raise RuntimeError("no thread can be started for a plain step")
        return outcome

    def _result(self) -> Json:
        """Return the result as the server does: of the only last step, or of all by name."""
        needed = {name for step in self._task.steps.values() for name in step.spec.depends_on}
        last = [name for name in self._task.steps if name not in needed]
        results = {name: value_of(self._results[name]) for name in last}
        return results[last[0]] if len(last) == 1 else results

    def _failed(self, begun: datetime) -> Run:
        return Run(
            run_id=f"{self._execution_id}:run:0",
            execution_id=self._execution_id,
            run_number=0,
            status=RunStatus.FAILED,
            trigger=RunTrigger.INITIAL,
            triggered_by="",
            reason="",
            definition_version=0,
            source_run_number=None,
            payload=value_of(self._payload),
            result=None,
            error=next(iter(self._dead.values())),
            created_at=begun,
            started_at=begun,
            completed_at=datetime.now(UTC),
        )


def _broken_off(in_hand: InHand, running: asyncio.Task[None]) -> pb.TaskOutcome:
    """Return the outcome of an attempt that ended and told none, as a dispatcher does."""
    error = asyncio.CancelledError() if running.cancelled() else running.exception()
    if in_hand.expired:
        return timed_out(in_hand)
    return failed_with(in_hand, error or RuntimeError("the attempt ended, and nobody knows how"))
