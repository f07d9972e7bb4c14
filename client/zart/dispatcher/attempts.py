"""One attempt of a task in hand: from its slot to its outcome."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import grpc

from zart.dispatcher import lease_clock
from zart.dispatcher.attempt_fields import fields_of
from zart.dispatcher.attempt_trace import AttemptTraces
from zart.dispatcher.backoff import Backoff
from zart.dispatcher.handlers import run_handler
from zart.dispatcher.in_hand import InHand
from zart.dispatcher.lacking import Lacking
from zart.dispatcher.log import Log
from zart.dispatcher.outcomes import failed_with, released, results_too_large, timed_out
from zart.dispatcher.threads import Threads
from zart.dispatcher.trouble import Trouble
from zart.errors import InvalidField, PayloadTooLarge, TooManyItems, from_call
from zart.step_context import Step
from zart.tasks import Task
from zart.tracebacks import locations_of
from zart.tracing import tracer
from zart.v1 import dispatch_service_pb2 as pb

if TYPE_CHECKING:  # only the stub file has this name
    from zart.v1.dispatch_service_pb2_grpc import DispatchServiceAsyncStub

_log = Log(__name__)
_RESULTS_AT_ONCE = 8  # results of up to 1 MiB in a message of 16
_TIMEOUT = 60.0  # for some MiB over a narrow way; that a server is gone is noticed by pings


class Attempts:
    """Runs the handlers of tasks in hand.

    ``report`` takes each outcome. ``dropped`` takes a task whose lease is lost: it is not reported.
    An attempt gets at most ``results_bytes`` of results of the steps that its step depends on.
    """

    def __init__(
        self,
        stub: DispatchServiceAsyncStub,
        tasks: Iterable[Task],
        threads: Threads,
        report: Callable[[InHand, pb.TaskOutcome], None],
        dropped: Callable[[InHand], None],
        results_bytes: int,
    ) -> None:
        self._stub = stub
        self._steps = {
            (task.name, handler): step for task in tasks for handler, step in task.steps.items()
        }
        self._threads = threads
        self._report = report
        self._dropped = dropped
        self._results_bytes = results_bytes
        self._traces = AttemptTraces(tracer())
        self._trouble = Trouble(_log, "results that steps need are not given")
        self._lacking = Lacking()

    def run(
        self, in_hand: InHand, begin_time: Callable[[InHand], None]
    ) -> Coroutine[Any, Any, None]:
        """Run a handler until it has ended, and report how.

        ``begin_time`` is called with the handler: what comes before it takes none of its time.
        """
        run = self._traced if self._traces.concern(in_hand) else self._run
        return run(in_hand, begin_time)

    async def _traced(self, in_hand: InHand, begin_time: Callable[[InHand], None]) -> None:
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(self._traces.within(in_hand))
            except Exception as error:  # noqa: BLE001 - of whatever this process traces with
                told = "an attempt is not traced: %s"
                _log.warning(told, locations_of(error), extra=fields_of(in_hand))
            await self._run(in_hand, begin_time)

    async def _run(self, in_hand: InHand, begin_time: Callable[[InHand], None]) -> None:
        step = self._step_of(in_hand)
        if step is None:
            # A handler of this name belongs to another task only. It was asked for all the same: a
            # call asks for all tasks and all handlers, not for pairs.
            self._report(in_hand, released(in_hand, self._lacking.delay(in_hand)))
        elif in_hand.begin_by <= lease_clock.now() and not in_hand.lost:
            # The loop or the process stood still: another dispatcher may have it by now, and the
            # server may end it before its time limit.
            self._report(in_hand, released(in_hand))
        elif not in_hand.lost:
            try:
                if not in_hand.task.upstream_omitted or await self._fetch_results(in_hand):
                    begin_time(in_hand)
                    with self._traces.handling(in_hand):
                        await run_handler(in_hand, step, self._threads, self._report)
            except asyncio.CancelledError as error:  # raised by the handler, or during the fetch
                self._broken_off(in_hand, error)
            except BaseException as error:  # a result or an error that cannot be encoded
                if isinstance(error, GeneratorExit) and not in_hand.is_running_here():
                    raise  # the coroutine is discarded after the loop has ended
                told = "cannot tell how a step ended: %s"
                _log.warning(told, locations_of(error), extra=fields_of(in_hand))
                self._broken_off(in_hand, error)
        if in_hand.lost:
            self._dropped(in_hand)
        elif not in_hand.ended:  # else its lease would be extended for ever
            self._broken_off(in_hand, RuntimeError("the attempt ended, and nobody knows how"))

    def _step_of(self, in_hand: InHand) -> Step[Any, Any] | None:
        # Apart from the attempt, which would keep the answer that the task came with to its end.
        task = in_hand.task
        return self._steps.get((task.task_name, task.handler))

    def _broken_off(self, in_hand: InHand, error: BaseException) -> None:
        if not (in_hand.lost or in_hand.ended):
            self._report(
                in_hand, timed_out(in_hand) if in_hand.expired else failed_with(in_hand, error)
            )

    async def _fetch_results(self, in_hand: InHand) -> bool:
        """Fetch the results that were left out of the lease, repeating until they are there.

        Return False, having reported that, if the server refuses to send them, if they are more
        than an attempt may have, or if the lease is over by then: whoever stood still meanwhile
        does not know what others have begun.
        """
        # First: what is extended during the fetch is detached too, and what this adds to would be
        # no more what the handler is given.
        in_hand.detach()
        task, most = in_hand.task, _RESULTS_AT_ONCE
        fetched = _bytes_of(task.upstream_json.values())
        try:
            while task.upstream_omitted:
                found = await self._fetch(in_hand, task.upstream_omitted[:most])
                fetched += _bytes_of(found.values())
                task.upstream_json.update(found)
                del task.upstream_omitted[: len(found)]
                most = len(found)
                if fetched > self._results_bytes:  # before the process has no memory left
                    self._report(in_hand, results_too_large(in_hand, fetched, self._results_bytes))
                    return False
        except (InvalidField, PayloadTooLarge, TooManyItems) as error:
            self._report(in_hand, failed_with(in_hand, error))
            return False
        if in_hand.expires_at <= lease_clock.now() and not in_hand.lost:
            self._report(in_hand, released(in_hand))
            return False
        return True

    async def _fetch(self, in_hand: InHand, names: list[str]) -> Mapping[str, str]:
        """Fetch the first of these results: fewer over a narrow way."""
        request = pb.GetStepResultsRequest(
            task_id=in_hand.task.task_id, lease_token=in_hand.task.lease_token, step_names=names
        )
        backoff = Backoff()
        while True:
            try:
                response = await self._stub.GetStepResults(request, timeout=_TIMEOUT)
            except grpc.RpcError as error:
                problem: object = from_call(error)
                if isinstance(problem, (InvalidField, PayloadTooLarge, TooManyItems)):
                    raise problem from None
                if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                    del request.step_names[max(1, len(request.step_names) // 2) :]
            else:
                if response.results.keys() >= set(request.step_names):
                    self._trouble.over()
                    return {name: response.results[name] for name in request.step_names}
                problem = "some are missing"
            self._trouble.met(problem)
            await backoff.wait()


def _bytes_of(results: Iterable[str]) -> int:
    return sum(len(text) if text.isascii() else len(text.encode()) for text in results)
