"""Reads a request: its body as it comes, and then what it asks for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from google.protobuf.message import Message
from google.rpc import code_pb2
from starlette.requests import ClientDisconnect, Request

from zart.gateway import aside
from zart.gateway.bindings import Binding
from zart.gateway.headers import check_type, idempotency_key_of
from zart.gateway.incoming import message_of
from zart.gateway.shares import Taken
from zart.gateway.statuses import Refusal, refusal

# A payload of 1 MiB may need six bytes for each of its own, and a batch has many: as gRPC has it.
_MOST_BYTES = 16 * 1024 * 1024
# Bytes which take as long to read as an object, of two bytes perhaps, a value or a parameter.
_PART_BYTES = 64
T = TypeVar("T")


async def read(binding: Binding, request: Request, taken: Taken) -> Message:
    """Read what a request asks for. Raises Refusal, and ClientDisconnect if its caller leaves."""
    body = await _body_of(request, taken)
    if body and binding.takes_body:
        check_type(request.headers)
    query: bytes = request.scope["query_string"]
    size = max(len(body), _PART_BYTES * (_parts_of(body) + query.count(b"&")))
    key = idempotency_key_of(request.headers)
    if size < aside.LARGE:
        return message_of(binding, request.path_params, query, body, key)
    taken.begin_reading(size)
    reading = aside.REQUESTS.done(size, message_of, binding, request.path_params, query, body, key)
    try:
        return await _while_there(request, reading)
    finally:
        taken.end_reading()


async def _while_there(request: Request, work: Awaitable[T]) -> T:
    """Do work as long as the caller, whose whole request is there, waits. Raises ClientDisconnect.

    Work that has not begun is then left undone: others wait behind it.
    """
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_leaves(request))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()
        del working  # its error knows this frame: together they would keep the body for long


async def _leaves(request: Request) -> None:
    """Wait until the caller of a request that is whole has left."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _parts_of(body: bytes) -> int:
    """Return how many objects, lists and values a body has at most: a text may hold their signs."""
    return sum(body.count(sign) for sign in (b"{", b"[", b","))


async def _body_of(request: Request, taken: Taken) -> bytes:
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > _MOST_BYTES:
        raise _too_large()
    body = bytearray()
    async for chunk in request.stream():
        taken.add_bytes(len(chunk))
        body += chunk
        if len(body) > _MOST_BYTES:
            raise _too_large()
    return bytes(body)


def _too_large() -> Refusal:
    return refusal(
        code_pb2.RESOURCE_EXHAUSTED,
        f"body: at most {_MOST_BYTES} bytes are taken",
        reason="PAYLOAD_TOO_LARGE",
        metadata={"field": "body", "limit": str(_MOST_BYTES)},
    )
