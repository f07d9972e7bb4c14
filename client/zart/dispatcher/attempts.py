"""One attempt of a held task: from its slot to what became of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import grpc

from zart.dispatcher.backoff import Backoff
from zart.dispatcher.handlers import run_handler
from zart.dispatcher.held import Held
from zart.dispatcher.outcomes import failed_with, released, timed_out
from zart.dispatcher.threads import Threads
from zart.dispatcher.trouble import Trouble
from zart.errors import InvalidField, PayloadTooLarge, TooManyItems, from_call
from zart.tasks import Task
from zart.tracebacks import places_of
from zart.v1 import dispatch_service_pb2 as pb

if TYPE_CHECKING:  # only the stub file has this name
    from zart.v1.dispatch_service_pb2_grpc import DispatchServiceAsyncStub

_log = logging.getLogger(__name__)
_RESULTS_AT_ONCE = 8  # results of up to 1 MiB in a message of 16
_TIMEOUT = 10.0
_UNKNOWN_HANDLER_DELAY = 5.0


class Attempts:
    """Runs the handlers of held tasks.

    ``report`` takes what becomes of one, ``dropped`` one that was lost: nothing is told of it.
    """

    def __init__(
        self,
        stub: DispatchServiceAsyncStub,
        tasks: Iterable[Task],
        threads: Threads,
        report: Callable[[Held, pb.TaskOutcome], None],
        dropped: Callable[[Held], None],
    ) -> None:
        self._stub = stub
        self._steps = {
            (task.name, handler): step for task in tasks for handler, step in task.steps.items()
        }
        self._threads = threads
        self._report = report
        self._dropped = dropped
        self._trouble = Trouble(_log, "results that steps need are not given")

    async def run(self, held: Held) -> None:
        """Run a handler until it has ended, whatever becomes of it."""
        task = held.task
        step = self._steps.get((task.task_name, task.handler))
        if step is None:  # the handler of another of its tasks, not of this one
            self._report(held, released(held, _UNKNOWN_HANDLER_DELAY))
        elif held.expired:
            self._report(held, timed_out(held))
        elif not held.lost:
            try:
                if not task.upstream_omitted or await self._fetch_results(held):
                    await run_handler(held, step, self._threads, self._report)
            except asyncio.CancelledError as error:  # by its own hand, or while it fetched
                self._broken_off(held, error)
            except BaseException as error:  # a result or an error too odd to be told
                if isinstance(error, GeneratorExit) and not held.is_running_here():
                    raise  # thrown away, after the loop has ended
                _log.warning("cannot tell how a step ended: %s", places_of(error))
                self._broken_off(held, error)
        if held.lost:
            self._dropped(held)
        elif not held.ended:  # else its lease would be kept for ever
            self._broken_off(held, RuntimeError("the attempt ended, and nobody knows how"))

    def _broken_off(self, held: Held, error: BaseException) -> None:
        if not (held.lost or held.ended):
            self._report(held, timed_out(held) if held.expired else failed_with(held, error))

    async def _fetch_results(self, held: Held) -> bool:
        """Fetch the results that were left out of the lease, for as long as it takes.

        Where the server says that it does not have them, that is a failed attempt.
        """
        names = list(held.task.upstream_omitted)
        try:
            for begin in range(0, len(names), _RESULTS_AT_ONCE):
                await self._fetch(held, names[begin : begin + _RESULTS_AT_ONCE])
        except (InvalidField, PayloadTooLarge, TooManyItems) as error:
            self._report(held, failed_with(held, error))
            return False
        return True

    async def _fetch(self, held: Held, names: list[str]) -> None:
        request = pb.GetStepResultsRequest(
            task_id=held.task.task_id, lease_token=held.task.lease_token, step_names=names
        )
        backoff = Backoff()
        while True:
            try:
                response = await self._stub.GetStepResults(request, timeout=_TIMEOUT)
            except grpc.RpcError as error:
                problem: object = from_call(error)
                if isinstance(problem, (InvalidField, PayloadTooLarge, TooManyItems)):
                    raise problem from None
            else:
                if response.results.keys() >= set(names):
                    held.task.upstream_json.update(response.results)
                    self._trouble.over()
                    return
                problem = "some are missing"
            self._trouble.met(problem)
            await backoff.wait()
