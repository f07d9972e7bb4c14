"""Batches mutations of one kind while a transaction is under way, and commits them together.

Each is by itself for its caller: a refused one leaves no trace, one whose execution another has
locked is taken out and waits alone, and if a batch fails before its commit each is tried alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from google.protobuf.message import Message

from zart_server.api.mutations.operate import Alone, Operate, Request
from zart_server.api.mutations.single import (
    ATTEMPTS,
    Mutations,
    backoff,
    fingerprint,
    replay,
    request_key,
)
from zart_server.api.outliving import outcome_of
from zart_server.aside import decoded
from zart_server.domain.commands import Caller
from zart_server.domain.errors import OperationTimeout, StoreConflict, ZartError
from zart_server.engine.operations.requests import Answered, RequestKey, find_answers, store_answers
from zart_server.store.db import Tx

_log = logging.getLogger(__name__)
_MOST = 200  # in one transaction
_AT_ONCE = 2  # transactions: while the database is at one, the server is at the other
_PATIENCE = 0.02  # seconds that one may hold up those after it

Command = TypeVar("Command")
Done = TypeVar("Done")
Response = TypeVar("Response", bound=Message)


@dataclass(eq=False, slots=True)
class _Item(Generic[Command, Response]):
    command: Command
    caller: Caller
    target: str
    request: Request | None
    done: asyncio.Future[Response] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    @property
    def key(self) -> RequestKey | None:
        """Its request's key."""
        return None if self.request is None else self.request.key


class _RolledBack(Exception):
    """A batch failed before its commit, so it left nothing."""


@dataclass(slots=True)
class _Turn:
    """Of a worker; it is over where another one has taken its place."""

    is_over: bool = False


class Batched(Generic[Command, Done, Response]):
    """One kind of mutation; ``target`` names what only one of a batch may be about.

    ``alone`` is tried first for a call that comes alone; ``complete`` completes what it stored.
    """

    def __init__(
        self,
        mutations: Mutations,
        response_type: type[Response],
        operate: Operate[Command, Done],
        encode: Callable[[Done], Response],
        target: Callable[[Command], str],
        *,
        alone: Alone[Command, Done] | None = None,
        complete: Callable[[Tx, Response], Awaitable[None]] | None = None,
    ) -> None:
        self._mutations = mutations
        self._response_type = response_type
        self._operate = operate
        self._encode = encode
        self._target = target
        self._by_one_statement = alone
        self._complete = complete
        self._waiting: list[_Item[Command, Response]] = []
        self._workers = 0

    async def run(self, request: Message, command: Command, caller: Caller) -> Response:
        """Do what a request asks for, or answer what it was answered with before.

        Neither the caller's deadline nor its disconnection stops what has begun.
        """
        key = request_key(request, caller.principal)
        item: _Item[Command, Response] = _Item(
            command,
            caller,
            self._target(command),
            None if key is None else Request(key, await decoded(fingerprint, request)),
        )
        if self._mutations.room.is_waited_for(item.target):
            self._mutations.keep(asyncio.create_task(self._alone(item, is_first=False)))
        else:
            self._waiting.append(item)
            if self._workers < _AT_ONCE:
                self._begin()
        return await outcome_of(item.done)

    def _begin(self) -> None:
        self._workers += 1
        self._mutations.keep(asyncio.create_task(self._work()))

    async def _work(self) -> None:
        turn = _Turn()
        try:
            while self._waiting and not turn.is_over:
                batch = self._take()
                if len(batch) == 1:
                    timer = asyncio.get_running_loop().call_later(_PATIENCE, self._give_up, turn)
                    await self._alone(batch[0], is_first=True)
                    timer.cancel()
                elif left := await self._together(batch):
                    alone = [asyncio.create_task(self._alone(i, is_first=False)) for i in left]
                    await asyncio.wait(map(self._mutations.keep, alone), timeout=_PATIENCE)
        finally:
            if not turn.is_over:
                self._workers -= 1

    def _give_up(self, turn: _Turn) -> None:
        """Let another worker go on in place of one whose only call has to wait."""
        turn.is_over = True
        self._workers -= 1
        if self._waiting:
            self._begin()

    def _take(self) -> list[_Item[Command, Response]]:
        """Take the next batch: no two about the same, or with the same request_id."""
        batch: list[_Item[Command, Response]] = []
        left: list[_Item[Command, Response]] = []
        taken: set[object] = set()
        for item in self._waiting:
            if len(batch) < _MOST and item.target not in taken and item.key not in taken:
                batch.append(item)
                taken.add(item.target)
                if item.key is not None:
                    taken.add(item.key)
            else:
                left.append(item)
        self._waiting = left
        return batch

    async def _together(
        self, batch: list[_Item[Command, Response]]
    ) -> list[_Item[Command, Response]]:
        """Do a batch in one transaction; give those that are to be done alone."""
        try:
            async with asyncio.timeout(self._mutations.timeout):
                async with self._mutations.db.transaction() as tx:
                    try:
                        answers = await self._answer(tx, batch, is_first=True, wait=False)
                    except Exception as error:
                        # Its kind only: what it says may be a statement, or a payload.
                        raise _RolledBack(type(error).__name__) from error
        except _RolledBack as error:
            _log.info("a batch of %d is done one by one: %s", len(batch), error)
            return batch
        except TimeoutError:
            return _fail(batch, OperationTimeout())
        except Exception as error:  # noqa: BLE001 - it is the callers': nobody knows what committed
            return _fail(batch, error)
        left = []
        for item, answer in zip(batch, answers, strict=True):
            if answer is None:
                left.append(item)
            else:
                _settle(item, answer)
        return left

    async def _alone(self, item: _Item[Command, Response], *, is_first: bool) -> None:
        """Do one in a transaction of its own, which waits for locks; repeated on conflict.

        What ``is_first`` tries without waiting, and stands in line only where that will not do.
        """
        try:
            async with asyncio.timeout(self._mutations.timeout):
                answer = await self._try_alone(item) if is_first else None
                if answer is None:
                    async with self._mutations.room.turn(item.target):
                        answer = await self._repeat(item)
            _settle(item, answer)
        except TimeoutError:
            _settle(item, OperationTimeout())
        except BaseException as error:  # noqa: BLE001 - it is the caller's
            _settle(item, error)

    async def _try_alone(self, item: _Item[Command, Response]) -> Response | None:
        """Return None where it has to wait, or others got in the way."""
        try:
            return await self._attempt(item, is_first=True)
        except StoreConflict:
            return None

    async def _repeat(self, item: _Item[Command, Response]) -> Response | None:
        for attempt in range(ATTEMPTS - 1):
            with contextlib.suppress(StoreConflict):
                return await self._attempt(item, is_first=False)
            await asyncio.sleep(backoff(attempt))
        return await self._attempt(item, is_first=False)

    async def _attempt(self, item: _Item[Command, Response], *, is_first: bool) -> Response | None:
        async with self._mutations.db.transaction(at_once=False) as tx:
            if is_first and self._by_one_statement is not None:
                done = await self._by_one_statement(tx, item.command, item.request)
                if done is not None:
                    return self._encode(done)
            await tx.begin()
            [answer] = await self._answer(tx, [item], is_first=is_first, wait=not is_first)
            if isinstance(answer, ZartError):
                raise answer
        return answer

    async def _answer(
        self, tx: Tx, items: Sequence[_Item[Command, Response]], *, is_first: bool, wait: bool
    ) -> list[Response | ZartError | None]:
        known = {} if is_first else await self._known(tx, items)
        new = [item for item in items if item not in known]
        wanted = [(item.command, item.caller) for item in new]
        results = await self._operate(tx, wanted, wait=wait) if new else ()
        answers = known | {
            item: self._encode(result)
            if result is not None and not isinstance(result, ZartError)
            else result
            for item, result in zip(new, results, strict=True)
        }
        refused = [item for item in new if isinstance(answers[item], ZartError)]
        answers |= await self._known(tx, refused)
        await store_answers(
            tx,
            [
                Answered(*item.request, answer.SerializeToString())
                for item in new
                if item.request is not None and isinstance(answer := answers[item], Message)
            ],
        )
        return [answers[item] for item in items]

    async def _known(
        self, tx: Tx, items: Sequence[_Item[Command, Response]]
    ) -> dict[_Item[Command, Response], Response | ZartError | None]:
        """Return the answers of those that were answered before."""
        asked = {item.request.key: item for item in items if item.request is not None}
        found = await find_answers(tx, dict(i.request for i in asked.values() if i.request))
        answers: dict[_Item[Command, Response], Response | ZartError | None] = {}
        for key, stored in found.items():
            try:
                answer, is_complete = replay(stored, self._response_type)
            except ZartError as error:
                answers[asked[key]] = error
                continue
            if not is_complete and self._complete is not None:
                await self._complete(tx, answer)
            answers[asked[key]] = answer
        return answers


def _fail(
    batch: list[_Item[Command, Response]], error: Exception
) -> list[_Item[Command, Response]]:
    for item in batch:
        _settle(item, error)
    return []


def _settle(item: _Item[Command, Response], answer: Response | BaseException | None) -> None:
    if item.done.done():
        return
    if isinstance(answer, Message):
        item.done.set_result(answer)
    elif isinstance(answer, asyncio.CancelledError):
        item.done.cancel()
    else:
        item.done.set_exception(answer or LookupError("a lock that was waited for was not got"))
