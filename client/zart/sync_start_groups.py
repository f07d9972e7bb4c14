"""Group commit of starts, for the client without asyncio: one thread sends for those that wait."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
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


class SendsSync(Protocol):
    """What sends calls: a client."""

    timeout: float

    def send(self, call: Call[T], *, timeout: float | None = None) -> T:
        """Send a call and read its answer."""


@dataclass(eq=False, slots=True)
class _Asked:
    """A start of one thread. Its answer None: it is to be asked for alone."""

    call: Call[Execution]
    deadline: float
    answer: Execution | Exception | None = None
    is_answered: bool = False
    news: threading.Event = field(default_factory=threading.Event)  # it is answered, or may go

    def settle(self, answer: Execution | Exception | None) -> None:
        """Answer its thread."""
        self.answer, self.is_answered = answer, True
        self.news.set()

    def told(self) -> Execution | None:
        """Return its answer, once. Raises the error that it is."""
        answer, self.answer = self.answer, None
        try:
            if isinstance(answer, Exception):
                raise answer
            return answer
        finally:
            del answer  # an error knows this frame, and all its callers': they would stay for long


class SyncStartGroups:
    """The starts of one client, which many threads may share.

    One that comes when no call is under way goes at once. The others wait, and the first of them
    sends for all when a call ends, or has held them up for ``patience`` seconds.
    """

    def __init__(self, client: SendsSync, patience: float = PATIENCE) -> None:
        self._client = client
        self._patience = patience
        self._lock = threading.Lock()  # of what follows
        self._waiting: list[_Asked] = []
        self._begun = -math.inf  # when the call began that others wait for

    def start(self, call: Call[Execution]) -> Execution:
        """Start an execution. Raises what the call does, Unreachable after the client's timeout."""
        if not can_be_grouped(call):
            return self._client.send(call)
        asked = _Asked(call, time.monotonic() + self._client.timeout)
        try:  # which Ctrl-C may leave at once: who waits first, and is gone, would hold up all
            with self._lock:
                self._waiting.append(asked)
            while not asked.is_answered:
                group = self._turn(asked)
                if group:
                    self._lead(group)
        finally:
            self._leave(asked)
        answer = asked.told()
        if answer is None:
            return self._client.send(call, timeout=asked.deadline - time.monotonic())
        return answer

    def _turn(self, asked: _Asked) -> Sequence[_Asked]:
        """Return what this thread is to send; nothing after a wait, for news or for long enough.

        Raises Unreachable after the deadline.
        """
        with self._lock:
            now = time.monotonic()
            wait = asked.deadline - now
            if wait > 0 and self._waiting and self._waiting[0] is asked:
                wait = min(wait, self._begun + self._patience - now)
                if wait <= 0:
                    return self._take(now)
        if wait <= 0:
            raise Unreachable(TOO_LATE)
        asked.news.wait(min(wait, threading.TIMEOUT_MAX))  # a timeout may be infinite
        asked.news.clear()  # before its answer is looked at
        return ()

    def _take(self, now: float) -> Sequence[_Asked]:
        self._begun = now
        group = take_group(self._waiting)
        self._tell_first()
        return group

    def _leave(self, asked: _Asked) -> None:
        """Send nothing for a thread that has left before its turn, and let the next one go."""
        with self._lock:
            if asked in self._waiting:
                self._waiting.remove(asked)
                self._tell_first()

    def _tell_first(self) -> None:
        """Have the first of those that wait see whether it may go, or how long it waits."""
        if self._waiting:
            self._waiting[0].news.set()

    def _lead(self, group: Sequence[_Asked]) -> None:
        answers: Sequence[Execution | Exception | None] = [
            Unreachable("the thread that asked for all was interrupted") for _ in group
        ]
        try:
            answers = self._answers(group)
        except Exception as error:  # noqa: BLE001 - it is the callers'
            answers = [own(error) for _ in group]
        finally:
            for asked, answer in zip(group, answers, strict=True):
                asked.settle(answer)
            del answer, answers  # as in ``told``
            with self._lock:
                self._begun = -math.inf
                self._tell_first()

    def _answers(self, group: Sequence[_Asked]) -> Sequence[Execution | None]:
        """Ask for all; None for each that is to be asked for alone."""
        left = max(asked.deadline for asked in group) - time.monotonic()
        if len(group) == 1:
            return [self._client.send(group[0].call, timeout=left)]
        try:
            found = self._client.send(start_together(each.call for each in group), timeout=left)
        except ZartError as error:
            if did_nothing(error):
                return [None] * len(group)
            error.request_id = ""  # of all of them, which none can repeat alone
            raise
        return [None if isinstance(each, Refused) else each for each in found]
