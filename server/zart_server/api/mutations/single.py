"""The one path of mutating calls: shielded, under a timeout, repeated on conflict, replayable."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from google.protobuf.message import Message

from zart_server.api.identity import principal
from zart_server.api.outliving import outcome_of
from zart_server.aside import decoded
from zart_server.domain.errors import OperationTimeout, RequestIdReused, StoreConflict, ZartError
from zart_server.engine.dispatch.waiting_room import WaitingRoom
from zart_server.engine.operations.requests import (
    Answered,
    RequestKey,
    complete_response,
    find_answers,
    store_answers,
)
from zart_server.store.db import Database, Tx

_log = logging.getLogger(__name__)
ATTEMPTS = 6
CROWD = "\0crowd"  # no execution is called so: what locks this and that, and seldom the same
# The first attempt does not wait for locks for long: it does not stand in line for them.
_BRIEFLY = "SET LOCAL lock_timeout = 100;"
_BACKOFF = 0.02  # seconds, doubled from attempt to attempt

Response = TypeVar("Response", bound=Message)
T = TypeVar("T")


class Mutations:
    """Runs mutations so that each happens once or not at all, whatever its caller does."""

    def __init__(self, db: Database, timeout: float, room: WaitingRoom) -> None:
        self.db = db
        self.timeout = timeout
        self.patience = timeout / 2  # with what somebody holds: who it is can be told in time
        self.room = room
        self._running: set[asyncio.Task[Any]] = set()
        self._storing: dict[RequestKey, asyncio.Task[None]] = {}

    async def run(
        self,
        request: Message,
        response_type: type[Response],
        operate: Callable[[Tx], Awaitable[Response]],
        complete: Callable[[Tx, Response], Awaitable[None]] | None = None,
        *,
        target: str = CROWD,
        at_once: bool = True,
    ) -> Response:
        """Answer a stored response, or operate in one transaction and store the response there.

        ``target`` names what it has to lock, if that is one thing: it is tried without waiting
        first, and then stands in line for it. Without ``at_once`` it is ``operate`` that begins the
        transaction. ``complete`` fills in what can only be told after the commit, each statement
        for itself unless it begins a second transaction; what it made of the response is stored
        while the caller has it already.
        Neither a caller's deadline nor its disconnection stops what has begun.
        """
        running = asyncio.create_task(
            self._run(request, response_type, operate, complete, target, at_once=at_once)
        )
        return await outcome_of(self.keep(running))

    def keep(self, task: asyncio.Task[T]) -> asyncio.Task[T]:
        """Let a task run to its end, whoever stops waiting for it."""
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def drain(self) -> None:
        """Wait until every mutation that has begun is done."""
        while self._running:
            await asyncio.wait(self._running)

    async def _run(
        self,
        request: Message,
        response_type: type[Response],
        operate: Callable[[Tx], Awaitable[Response]],
        complete: Callable[[Tx, Response], Awaitable[None]] | None,
        target: str,
        *,
        at_once: bool,
    ) -> Response:
        try:
            async with asyncio.timeout(self.timeout):
                response, is_complete = await self._operate(
                    request,
                    response_type,
                    operate,
                    target,
                    at_once=at_once,
                    is_complete=complete is None,
                )
                if complete is not None and not is_complete:
                    await self._complete(request, response, complete)
        except TimeoutError:
            raise OperationTimeout from None
        return response

    async def _operate(
        self,
        request: Message,
        response_type: type[Response],
        operate: Callable[[Tx], Awaitable[Response]],
        target: str,
        *,
        at_once: bool,
        is_complete: bool,
    ) -> tuple[Response, bool]:
        key = request_key(request, principal())
        wanted = {} if key is None else {key: await decoded(fingerprint, request)}
        for attempt in range(ATTEMPTS):
            if key is not None and key in self._storing:
                await asyncio.wait([self._storing[key]])
            # Batches of starts share nothing: one that waits is no reason for others to.
            waits = attempt > 0 or (target != CROWD and self.room.is_waited_for(target))
            first = "" if waits else _BRIEFLY
            try:
                async with (
                    self._turn(target, waits=waits, at_once=at_once),
                    self.db.transaction(first=first, at_once=at_once) as tx,
                ):
                    for answer in (await find_answers(tx, wanted)).values() if attempt else ():
                        return replay(answer, response_type)
                    try:
                        response = await operate(tx)
                    except ZartError:
                        for answer in (await find_answers(tx, wanted)).values():
                            return replay(answer, response_type)
                        raise
                    if key is not None:
                        text = response.SerializeToString()
                        await store_answers(tx, [Answered(key, wanted[key], text, is_complete)])
                    return response, is_complete
            except StoreConflict:
                if attempt == ATTEMPTS - 1:
                    raise
                await asyncio.sleep(backoff(attempt))
        raise StoreConflict

    def _turn(
        self, target: str, *, waits: bool, at_once: bool
    ) -> contextlib.AbstractAsyncContextManager[None]:
        """Stand in line for what has to be locked, but for the first attempt, which hardly waits.

        Who begins its transaction itself asks for the pause lock: one of this server at a time.
        """
        if not at_once:
            return self.room.line(target)
        if waits:
            return self.room.place() if target == CROWD else self.room.turn(target)
        return contextlib.nullcontext() if target == CROWD else self.room.trying(target)

    async def _complete(
        self,
        request: Message,
        response: Response,
        complete: Callable[[Tx, Response], Awaitable[None]],
    ) -> None:
        async with self.db.transaction(at_once=False) as tx:
            await complete(tx, response)
        key = request_key(request, principal())
        if key is None:
            return
        whole = type(response)()
        whole.CopyFrom(response)
        whole.ClearField("replayed")
        storing = self.keep(asyncio.create_task(self._store(key, whole.SerializeToString())))
        self._storing[key] = storing
        storing.add_done_callback(lambda _: self._storing.pop(key, None))

    async def _store(self, key: RequestKey, response: bytes) -> None:
        """Store a complete response, which nobody needs to wait for but a repeat.

        Where it fails, a repeat completes the response anew.
        """
        try:
            async with asyncio.timeout(self.timeout), self.db.transaction(at_once=False) as tx:
                await complete_response(tx, key, response)
        except (ZartError, TimeoutError) as error:
            _log.warning("the counts of a %s were not stored: %s", key.rpc, type(error).__name__)


def request_key(request: Message, caller: str) -> RequestKey | None:
    """Name a request of a caller; None where it has no request_id, or its kind needs none."""
    request_id: str = getattr(request, "request_id", "")
    if not request_id:
        return None
    return RequestKey(caller, request.DESCRIPTOR.name.removesuffix("Request"), request_id)


def fingerprint(request: Message) -> bytes:
    """Return whether a repeat asks for the same."""
    return hashlib.sha256(request.SerializeToString(deterministic=True)).digest()


def replay(
    stored: Answered | RequestIdReused, response_type: type[Response]
) -> tuple[Response, bool]:
    """Return a stored response, marked as replayed, and whether it is complete."""
    if isinstance(stored, RequestIdReused):
        raise stored
    replayed = response_type.FromString(stored.response)
    replayed.replayed = True  # type: ignore[attr-defined]
    return replayed, stored.is_complete


def backoff(attempt: int) -> float:
    """Return the seconds to wait before the next attempt after a conflict, the first being 0."""
    jitter = random.random()  # noqa: S311 - spreads load, guards nothing
    return float(_BACKOFF * 2**attempt * jitter)
