"""What tells of each change until it is over, of both clients.

A ``timeout`` is the seconds that the watch as a whole may take, from when its first message is
asked for, with what its caller does between two of them; None: as many as it takes.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import aclosing
from typing import Any, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from zart import streams
from zart.calls import admin, batch, execution
from zart.calls.call import Call
from zart.models import Batch, ExecutionState, PauseRule, WatchedPauseRule, WatchUntil
from zart.outages import Standing
from zart.own_process import OfOneProcess
from zart.waiting import Reconnecting, last_in, last_of, within

T = TypeVar("T")


class Watches(OfOneProcess[grpc.aio.Channel]):
    """The part of ``Client`` that watches."""

    def __init__(self, channel: grpc.aio.Channel, standing: Standing) -> None:
        super().__init__(channel)
        self.standing = standing

    async def watch(
        self, call: Call[T], *, timeout: float | None = None
    ) -> AsyncGenerator[T, None]:
        """Send a call that watches; where the connection breaks it is taken up again.

        Raises what the call does, and Unreachable where no server ever answered this client. After
        ``timeout`` seconds it raises what it broke with, if it was told nothing since; else
        TimeoutError.
        """
        async with aclosing(self.watch_raw(call, timeout=timeout)) as messages:
            async for message in messages:
                yield call.read(message)

    def watch_raw(
        self, call: Call[Any], *, timeout: float | None = None
    ) -> AsyncGenerator[Message, None]:
        """Send a call that watches, and yield protos; as ``watch``."""
        again = Reconnecting(standing=self.standing)
        return streams.watch(self.channel, call, timeout, again)

    def watch_execution(
        self, execution_id: str, *, run_number: int | None = None, timeout: float | None = None
    ) -> AsyncGenerator[ExecutionState, None]:
        """Watch a run: the whole state first, then what changed, until it is finished.

        Where nothing changes, it yields a state without steps at least every 15 seconds. Without
        ``run_number`` it follows the execution across a restart. Raises ExecutionNotFound or
        RunNotFound; after ``timeout`` seconds TimeoutError, or Unreachable or Unavailable if the
        watch broke and nobody can know.
        """
        call = execution.watch_execution(execution_id, run_number=run_number)
        return self.watch(call, timeout=timeout)

    def watch_pause_rule(
        self,
        rule_id: str,
        *,
        until: WatchUntil | str = WatchUntil.ENDED,
        timeout: float | None = None,
    ) -> AsyncGenerator[WatchedPauseRule, None]:
        """Watch a pause rule: as it is, then whenever it or a count changes, until it is so.

        With ``until`` DRAINED until nothing that it withholds is in flight, or it has ended. Raises
        PauseRuleNotFound; after ``timeout`` seconds TimeoutError, or Unreachable or Unavailable if
        the watch broke and nobody can know.
        """
        return self.watch(admin.watch_pause_rule(rule_id, until=until), timeout=timeout)

    def watch_batch(
        self,
        batch_id: str,
        *,
        until: WatchUntil | str = WatchUntil.ENDED,
        timeout: float | None = None,
    ) -> AsyncGenerator[Batch, None]:
        """Watch a batch: as it is, then whenever it is otherwise, until it is over.

        With ``until`` DRAINED until besides nothing that it has made runs, or is about to. Raises
        BatchNotFound; after ``timeout`` seconds TimeoutError, or Unreachable or Unavailable if the
        watch broke and nobody can know.
        """
        return self.watch(batch.watch_batch(batch_id, until=until), timeout=timeout)

    async def wait_drained(self, rule_id: str, *, timeout: float | None = None) -> PauseRule:
        """Wait until nothing that a pause rule withholds is in flight, and return the rule.

        A rule that ends first has no ``drained_at``. Raises PauseRuleNotFound; after ``timeout``
        seconds TimeoutError, or Unreachable or Unavailable if the watch broke and nobody can know.
        """
        async with within(timeout):
            return await last_of(self.watch_pause_rule(rule_id, until=WatchUntil.DRAINED))


class SyncWatches(OfOneProcess[grpc.Channel]):
    """The part of ``SyncClient`` that watches."""

    def __init__(self, channel: grpc.Channel, standing: Standing) -> None:
        super().__init__(channel)
        self.standing = standing

    def watch(self, call: Call[T], *, timeout: float | None = None) -> Generator[T, None, None]:
        """Send a call that watches; where the connection breaks it is taken up again.

        Raises what the call does, and Unreachable where no server ever answered this client. After
        ``timeout`` seconds it raises what it broke with, if it was told nothing since; else
        TimeoutError.
        """
        for message in self.watch_raw(call, timeout=timeout):
            yield call.read(message)

    def watch_raw(self, call: Call[Any], *, timeout: float | None = None) -> Iterator[Message]:
        """Send a call that watches, and yield protos; as ``watch``."""
        again = Reconnecting(standing=self.standing)
        return streams.watch_sync(self.channel, call, timeout, again)

    def watch_execution(
        self, execution_id: str, *, run_number: int | None = None, timeout: float | None = None
    ) -> Generator[ExecutionState, None, None]:
        """Watch a run: the whole state first, then what changed, until it is finished.

        Where nothing changes, it yields a state without steps at least every 15 seconds. Without
        ``run_number`` it follows the execution across a restart. Raises ExecutionNotFound or
        RunNotFound; after ``timeout`` seconds TimeoutError, or Unreachable or Unavailable if the
        watch broke and nobody can know.
        """
        call = execution.watch_execution(execution_id, run_number=run_number)
        return self.watch(call, timeout=timeout)

    def watch_pause_rule(
        self,
        rule_id: str,
        *,
        until: WatchUntil | str = WatchUntil.ENDED,
        timeout: float | None = None,
    ) -> Iterator[WatchedPauseRule]:
        """Watch a pause rule: as it is, then whenever it or a count changes, until it is so.

        With ``until`` DRAINED until nothing that it withholds is in flight, or it has ended. Raises
        PauseRuleNotFound; after ``timeout`` seconds TimeoutError, or Unreachable or Unavailable if
        the watch broke and nobody can know.
        """
        return self.watch(admin.watch_pause_rule(rule_id, until=until), timeout=timeout)

    def watch_batch(
        self,
        batch_id: str,
        *,
        until: WatchUntil | str = WatchUntil.ENDED,
        timeout: float | None = None,
    ) -> Iterator[Batch]:
        """Watch a batch: as it is, then whenever it is otherwise, until it is over.

        With ``until`` DRAINED until besides nothing that it has made runs, or is about to. Raises
        BatchNotFound; after ``timeout`` seconds TimeoutError, or Unreachable or Unavailable if the
        watch broke and nobody can know.
        """
        return self.watch(batch.watch_batch(batch_id, until=until), timeout=timeout)

    def wait_drained(self, rule_id: str, *, timeout: float | None = None) -> PauseRule:
        """Wait until nothing that a pause rule withholds is in flight, and return the rule.

        A rule that ends first has no ``drained_at``. Raises PauseRuleNotFound; after ``timeout``
        seconds TimeoutError, or Unreachable or Unavailable if the watch broke and nobody can know.
        """
        return last_in(self.watch_pause_rule(rule_id, until=WatchUntil.DRAINED, timeout=timeout))
