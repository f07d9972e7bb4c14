"""Does calls in transactions: within a time, again after a conflict, and each at most once.

The one place of the operation timeout and of repeats on conflict. Calls come alone, or together as
`batched.py` brings them; what a repeat of a request is answered is `replay.py`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from zart_server.api.mutations.mutation import Call, Grouping, InLine, Response
from zart_server.api.mutations.replay import Answer, answer_calls, answer_in_line
from zart_server.api.outliving import Outliving
from zart_server.domain.errors import OperationTimeout, StoreConflict, ZartError
from zart_server.engine.dispatch.waiting_room import WaitingRoom
from zart_server.engine.operations.requests import RequestKey, complete_response
from zart_server.store.connection import Autocommit
from zart_server.store.db import Database
from zart_server.store.driver_errors import is_refused
from zart_server.store.patience import MOMENT, at_most

_log = logging.getLogger(__name__)
_ATTEMPTS = 6  # in line, at least, and for at least
_PATIENCE = 10.0  # seconds: some wait but a moment at a time, for a lock below their run
# The first attempt does not wait for locks for long: it does not stand in line for them.
_BRIEFLY = at_most(MOMENT)
# Nor do many calls, for what is locked of one of them; longer, as each is done alone after that.
_OF_MANY = at_most(1.0)
_BACKOFF, _LONGEST_BACKOFF = 0.02, 0.5  # seconds, doubled from attempt to attempt
_COUNTING = 5.0  # seconds that an answer to what has committed waits for its counts

T = TypeVar("T")


class _RolledBack(Exception):
    """A batch failed before its commit, so it left nothing."""


class _Planned(Exception):
    """A plan: what the deed, which is rolled back, would have been answered with."""

    def __init__(self, answer: Answer[Any]) -> None:
        self.answer = answer


class MutationRunner:
    """Settles each call, whatever goes wrong. ``timeout`` in seconds, for a call or a batch."""

    def __init__(
        self, db: Database, timeout: float, room: WaitingRoom, outliving: Outliving
    ) -> None:
        self._db = db
        self._timeout = timeout
        self._room = room
        self._outliving = outliving
        self._storing: dict[RequestKey, asyncio.Task[None]] = {}

    async def together(self, calls: Sequence[Call[Any]]) -> Sequence[Call[Any]]:
        """Do calls of one mutation in one transaction; return those that are to be done alone.

        These are the calls whose execution another transaction has locked, whose stored response
        has to be completed, or all if the transaction failed before its commit. What one statement
        does without a transaction is done by that before.
        """
        until = asyncio.get_running_loop().time() + self._timeout
        try:
            calls = await self._in_time(self._together_fast(calls), until)
            if not calls:
                return ()
            answers = await self._in_time(self._answer_batch(calls), until)
        except _RolledBack as error:
            _log.info("a batch of %d is done one by one: %s", len(calls), error)
            return calls
        except Exception as error:  # noqa: BLE001 - it is the callers': nobody knows what committed
            for call in calls:
                call.settle(error)
            return ()
        left = []
        for call, answer in zip(calls, answers, strict=True):
            if isinstance(answer, ZartError):
                call.settle(answer)
            elif answer is not None and answer.is_complete:
                call.settle(answer.response)
            else:
                left.append(call)
        return left

    async def alone(self, call: Call[Any], *, is_first: bool) -> None:
        """Do a call in a transaction of its own, which waits for locks; repeated on conflict.

        What ``is_first`` tries without waiting, and stands in line only where that will not do.
        """
        until = asyncio.get_running_loop().time() + self._timeout
        try:
            answer = await self._in_time(self._answer_alone(call, is_first=is_first), until)
            if not answer.is_complete:
                await self._complete(call, answer.response, until)
            call.settle(answer.response)
        except BaseException as error:  # noqa: BLE001 - it is the caller's
            call.settle(error)

    async def _in_time(self, work: Coroutine[Any, Any, T], until: float | None = None) -> T:
        """Do it until a time of the loop's clock, or within the time of a call that begins."""
        end = asyncio.get_running_loop().time() + self._timeout if until is None else until
        try:
            async with asyncio.timeout_at(end):
                return await work
        except TimeoutError:
            raise OperationTimeout from None

    async def _together_fast(self, calls: Sequence[Call[Any]]) -> Sequence[Call[Any]]:
        """Answer the calls that one statement can; return the others, of which it did nothing."""
        fast, encode = calls[0].mutation.fast, calls[0].mutation.encode
        if fast is None:
            return calls
        wanted, requests = [call.command for call in calls], [call.request for call in calls]
        try:
            async with self._db.autocommit() as connection:
                done = await fast(connection, wanted, requests)
        except Exception as error:
            if not is_refused(error):
                raise  # it may be done
            # What was refused of one may be right of the others.
            _log.info("a batch of %d takes a transaction: %s", len(calls), type(error).__name__)
            return calls
        if done is None:
            return calls
        left = []
        for call, result in zip(calls, done, strict=True):
            if result is None:
                left.append(call)
            else:
                call.settle(encode(result))
        return left

    async def _answer_batch(
        self, calls: Sequence[Call[Any]]
    ) -> list[Answer[Any] | ZartError | None]:
        async with self._db.transaction(first=_OF_MANY) as tx:
            try:
                return await answer_calls(tx, calls, wait=False, is_repeat=False)
            except Exception as error:
                # Its kind only: what it says may be a statement, or a payload.
                raise _RolledBack(type(error).__name__) from error

    async def _answer_alone(self, call: Call[Response], *, is_first: bool) -> Answer[Response]:
        answer = await self._try(call) if is_first else None
        if answer is None:
            async with self._line(call):
                answer = await self._repeat(call)
        return answer

    async def _try(self, call: Call[Response]) -> Answer[Response] | None:
        """Return None if the call has to wait, or others got in the way."""
        grouping, target = call.mutation.grouping, call.target
        trying: contextlib.AbstractAsyncContextManager[None] = contextlib.nullcontext()
        if grouping is Grouping.IN_LINE and not call.is_plan:
            return None
        if grouping is Grouping.ALONE and target is not None and self._room.is_waited_for(target):
            return None
        if grouping is Grouping.IN_LINE:
            trying = self._room.looking()
        elif grouping is Grouping.ALONE and target is None:
            trying = self._room.trying_many()
        elif grouping is Grouping.ALONE and target is not None:
            trying = self._room.trying(target)
        with contextlib.suppress(StoreConflict):
            async with trying:
                return await self._attempt(call, wait=False, is_repeat=False)
        return None

    def _line(self, call: Call[Any]) -> contextlib.AbstractAsyncContextManager[None]:
        """Stand in line for what the call has to lock, and for leave to hold a connection.

        What begins its transaction itself waits for its lock but a moment at a time.
        """
        if call.target is None:
            # In line only plans have none, which lock nothing.
            is_in_line = call.mutation.grouping is Grouping.IN_LINE
            return self._room.looking() if is_in_line else self._room.place()
        if call.mutation.grouping is Grouping.IN_LINE:
            return self._room.line(call.target)
        return self._room.turn(call.target)

    async def _repeat(self, call: Call[Response]) -> Answer[Response]:
        is_repeat = call.mutation.grouping is not Grouping.IN_LINE  # else this is its first attempt
        until = asyncio.get_running_loop().time() + _PATIENCE
        attempt = 0
        while True:
            if call.key in self._storing:
                await asyncio.wait([self._storing[call.key]])
            try:
                answer = await self._attempt(call, wait=True, is_repeat=is_repeat or attempt > 0)
            except StoreConflict:
                is_last = asyncio.get_running_loop().time() > until
                if attempt >= _ATTEMPTS - 1 and is_last:
                    raise
            else:
                if answer is None:
                    raise LookupError("a lock that was waited for was not got")
                return answer
            await asyncio.sleep(_backoff(attempt))
            attempt += 1

    async def _attempt(
        self, call: Call[Response], *, wait: bool, is_repeat: bool
    ) -> Answer[Response] | None:
        """Do a call, or plan it: then its transaction is rolled back, and nobody told of it."""
        try:
            return await self._do(call, wait=wait, is_repeat=is_repeat)
        except _Planned as plan:
            return plan.answer

    async def _do(
        self, call: Call[Response], *, wait: bool, is_repeat: bool
    ) -> Answer[Response] | None:
        mutation = call.mutation
        answer: Answer[Response] | ZartError | None
        async with self._db.autocommit() as connection:
            if isinstance(mutation.operate, InLine) and call.is_plan:
                answer = await _plan(connection, call, mutation.operate)
            elif isinstance(mutation.operate, InLine):
                answer = await answer_in_line(
                    connection, call, mutation.operate, is_repeat=is_repeat
                )
            else:
                if mutation.fast is not None and not wait:
                    done = await mutation.fast(connection, [call.command], [call.request])
                    if done is not None and done[0] is not None:
                        return Answer(mutation.encode(done[0]))
                tx = await connection.begin("BEGIN" if wait else f"BEGIN;{_BRIEFLY}")
                [answer] = await answer_calls(tx, [call], wait=wait, is_repeat=is_repeat)
            if isinstance(answer, ZartError):
                raise answer
            if call.is_plan and answer is not None:
                raise _Planned(answer)
        return answer

    async def _complete(self, call: Call[Response], response: Response, until: float) -> None:
        """Fill in what a stored response lacks, and store it while the caller has it already.

        Where it fails the caller is answered without: what was asked for has committed.
        """
        complete, request = call.mutation.complete, call.request
        if complete is None:
            return
        whole = type(response)()
        whole.CopyFrom(response)
        try:
            patience = asyncio.get_running_loop().time() + _COUNTING
            await self._in_time(self._fill_in(complete, whole), min(until, patience))
        except ZartError as error:
            rpc = type(response).DESCRIPTOR.name.removesuffix("Response")
            _log.warning("a %s is answered without its counts: %s", rpc, type(error).__name__)
            return
        response.CopyFrom(whole)
        if request is None:
            return
        whole.ClearField("replayed")
        storing = asyncio.create_task(self._store(request.key, whole.SerializeToString()))
        self._storing[request.key] = self._outliving.keep(storing)
        storing.add_done_callback(lambda _: self._storing.pop(request.key, None))

    async def _fill_in(
        self, complete: Callable[[Autocommit, Response], Awaitable[None]], response: Response
    ) -> None:
        async with self._room.counting(), self._db.autocommit() as connection:
            await complete(connection, response)

    async def _store(self, key: RequestKey, response: bytes) -> None:
        """Store a complete response, which nobody needs to wait for but a repeat.

        Where it fails, a repeat completes the response anew.
        """
        try:
            async with asyncio.timeout(self._timeout), self._db.autocommit() as connection:
                await complete_response(connection, key, response)
        except (ZartError, TimeoutError) as error:
            _log.warning("the counts of a %s were not stored: %s", key.rpc, type(error).__name__)


async def _plan(
    connection: Autocommit, call: Call[Response], in_line: InLine[Any, Any]
) -> Answer[Response]:
    if in_line.plan is None:
        raise TypeError("it cannot be planned")
    planned = await in_line.plan(connection, call.command, call.caller)
    return Answer(call.mutation.encode(planned))


def _backoff(attempt: int) -> float:
    """Return the seconds to wait before the next attempt after a conflict, the first being 0."""
    jitter = random.random()  # noqa: S311 - spreads load, guards nothing
    return float(min(_BACKOFF * 2**attempt, _LONGEST_BACKOFF) * jitter)
