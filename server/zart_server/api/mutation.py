"""The one path of mutating calls: shielded, under a timeout, repeated on conflict, replayable."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast

from google.protobuf.message import Message

from zart_server.api.identity import principal
from zart_server.domain.errors import OperationTimeout, StoreConflict
from zart_server.engine.requests import begin_request, store_response
from zart_server.store.db import Database, Tx

_ATTEMPTS = 6
_BACKOFF = 0.02  # seconds, doubled from attempt to attempt

Response = TypeVar("Response", bound=Message)


class Mutations:
    """Runs mutations so that each happens once or not at all, whatever its caller does."""

    def __init__(self, db: Database, timeout: float) -> None:
        self._db = db
        self._timeout = timeout
        self._running: set[asyncio.Task[Message]] = set()

    async def run(
        self,
        request: Message,
        response_type: type[Response],
        operate: Callable[[Tx], Awaitable[Response]],
        complete: Callable[[Tx, Response], Awaitable[None]] | None = None,
    ) -> Response:
        """Answer a stored response, or operate in one transaction and store the response there.

        ``complete`` fills in, in a second transaction, what can only be told after the commit.
        Neither a caller's deadline nor its disconnection stops what has begun.
        """
        task = asyncio.create_task(self._run(request, response_type, operate, complete))
        self._running.add(cast("asyncio.Task[Message]", task))
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    async def drain(self) -> None:
        """Wait until every mutation that has begun is done."""
        if self._running:
            await asyncio.wait(self._running)

    async def _run(
        self,
        request: Message,
        response_type: type[Response],
        operate: Callable[[Tx], Awaitable[Response]],
        complete: Callable[[Tx, Response], Awaitable[None]] | None,
    ) -> Response:
        try:
            async with asyncio.timeout(self._timeout):
                response, is_complete = await self._operate(
                    request, response_type, operate, is_complete=complete is None
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
        *,
        is_complete: bool,
    ) -> tuple[Response, bool]:
        scope, request_id = (principal(), _name(request)), _request_id(request)
        for attempt in range(_ATTEMPTS):
            try:
                async with self._db.transaction() as tx:
                    if request_id:
                        stored = await begin_request(tx, *scope, request_id, _fingerprint(request))
                        if stored is not None:
                            replayed = response_type.FromString(stored.response)
                            replayed.replayed = True  # type: ignore[attr-defined]
                            return replayed, stored.is_complete
                    response = await operate(tx)
                    if request_id:
                        text = response.SerializeToString()
                        await store_response(tx, *scope, request_id, text, is_complete=is_complete)
                    return response, is_complete
            except StoreConflict:
                if attempt == _ATTEMPTS - 1:
                    raise
                jitter = random.random()  # noqa: S311 - spreads load, guards nothing
                await asyncio.sleep(_BACKOFF * 2**attempt * jitter)
        raise StoreConflict

    async def _complete(
        self,
        request: Message,
        response: Response,
        complete: Callable[[Tx, Response], Awaitable[None]],
    ) -> None:
        scope, request_id = (principal(), _name(request)), _request_id(request)
        async with self._db.transaction() as tx:
            await complete(tx, response)
            if request_id:
                stored = type(response)()
                stored.CopyFrom(response)
                stored.ClearField("replayed")
                await store_response(tx, *scope, request_id, stored.SerializeToString())


def _name(request: Message) -> str:
    return request.DESCRIPTOR.name.removesuffix("Request")


def _request_id(request: Message) -> str:
    request_id: str = request.request_id  # type: ignore[attr-defined]
    return request_id


def _fingerprint(request: Message) -> bytes:
    """Tell whether a repeat asks for the same."""
    return hashlib.sha256(request.SerializeToString(deterministic=True)).digest()
