"""Group commit of starts, for the client of asyncio: those of one moment are one call."""

from __future__ import annotations

import asyncio
import contextvars
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from zart.calls.call import Call
from zart.calls.execution import start_together
from zart.calls.start_groups import (
    PATIENCE,
    TOO_LATE,
    can_be_grouped,
    did_nothing,
    own,
    take_group,
)
from zart.errors import Refused, Unreachable, ZartError
from zart.models import Execution

T = TypeVar("T")


class Sends(Protocol):
    """What sends calls: a client."""

    timeout: float
    triggered_by: str

    async def send(self, call: Call[T], *, timeout: float | None = None) -> T:
        """Send a call and read its answer."""


@dataclass(eq=False, slots=True)
class _Asked:
    """A start, and the future of its execution; None: it is to be asked for alone.

    ``request_id``: what it was sent with, if it went out by itself.
    """

    call: Call[Execution]
    deadline: float
    answer: asyncio.Future[Execution | None]
    context: contextvars.Context
    request_id: str = ""

    def settle(self, answer: Execution | Exception | None) -> None:
        """Answer its caller, whether it still waits or not."""
        if self.answer.done():
            return
        if isinstance(answer, Exception):
            self.answer.set_exception(answer)
        else:
            self.answer.set_result(answer)


class StartGroups:
    """The starts of one client.

    One that comes when no call is under way goes at once, with those of the same turn of the event
    loop; the others go when a call ends, or has held them up for ``patience`` seconds.
    """

    def __init__(self, client: Sends, patience: float = PATIENCE) -> None:
        self._client = client
        self._patience = patience
        self._waiting: list[_Asked] = []
        self._begun = -math.inf  # when the call began that others wait for
        self._timer: asyncio.Handle | None = None
        self._sending: set[asyncio.Task[None]] = set()

    async def start(self, call: Call[Execution]) -> Execution:
        """Start an execution. Raises what the call does, Unreachable after the client's timeout."""
        timeout = self._client.timeout
        if not can_be_grouped(call):
            return await self._client.send(call)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        asked = _Asked(call, deadline, loop.create_future(), contextvars.copy_context())
        self._waiting.append(asked)
        if self._timer is None:
            self._schedule(loop)
        try:
            async with asyncio.timeout_at(deadline):
                answer = await asked.answer
        except TimeoutError:
            # gRPC gives the call up in the same moment, and seldom is the first to say so.
            raise _too_late(asked) from None
        finally:
            if asked.answer.cancelled():
                self._forget(asked)
            del asked  # its error knows this frame, and all its callers': they would stay for long
        if answer is None:
            return await self._client.send(call, timeout=deadline - loop.time())
        return answer

    def _forget(self, asked: _Asked) -> None:
        """Send nothing for a caller who has left before its turn."""
        if asked in self._waiting:
            self._waiting.remove(asked)

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let what waits go when the call under way has had its time; at once if there is none."""
        wait = self._begun + self._patience - loop.time()
        if wait > 0:
            self._timer = loop.call_later(wait, self._begin)
        else:
            self._timer = loop.call_soon(self._begin)

    def _begin(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        group = take_group(self._waiting)
        if not group:
            return
        loop = asyncio.get_running_loop()
        self._begun = loop.time()
        task = loop.create_task(self._send(group), name="starts", context=group[0].context)
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)
        if self._waiting:
            self._schedule(loop)

    async def _send(self, group: Sequence[_Asked]) -> None:
        try:
            answers = await self._answers(group)
        except asyncio.CancelledError:  # as at the end of the event loop
            left, self._waiting = self._waiting, []
            for asked in [*group, *left]:
                unanswered = Unreachable("the task that asked for all was cancelled")
                unanswered.request_id = asked.request_id
                asked.settle(unanswered)
            raise
        except Exception as error:  # noqa: BLE001 - it is the callers'
            for asked in group:
                asked.settle(own(error))
        else:
            for asked, answer in zip(group, answers, strict=True):
                asked.settle(answer)
        finally:
            self._begun = -math.inf
            if self._waiting:
                self._begin()

    async def _answers(self, group: Sequence[_Asked]) -> Sequence[Execution | None]:
        """Ask for all; None for each that is to be asked for alone."""
        left = max(asked.deadline for asked in group) - asyncio.get_running_loop().time()
        if len(group) == 1:
            call = group[0].call.completed(self._client.triggered_by)
            group[0].request_id = getattr(call.request, "request_id", "")
            return [await self._client.send(call, timeout=left)]
        try:
            found = await self._client.send(
                start_together(asked.call for asked in group), timeout=left
            )
        except ZartError as error:
            if did_nothing(error):
                return [None] * len(group)
            error.request_id = ""  # of all of them, which none can repeat alone
            raise
        return [None if isinstance(each, Refused) else each for each in found]


def _too_late(asked: _Asked) -> Unreachable:
    late = Unreachable(TOO_LATE)
    late.request_id = asked.request_id
    return late
