"""Answers with a page of a list: as many items as one answer may have, and where to go on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from google.protobuf.message import Message

from zart_server import aside
from zart_server.api.page_tokens import Cursor, ListRequest, encode_cursor
from zart_server.domain.commands import Page
from zart_server.store.heavy_rows import PAGE_BYTES

_AROUND = 6  # bytes that an item has before it, at most: its number and its length

T = TypeVar("T")
M = TypeVar("M", bound=Message)


def first_that_fit(items: Iterable[T], encode: Callable[[T], M]) -> list[M]:
    """Encode the first of some items, for an answer that is no list: at most 8 MiB of them."""
    room, found = PAGE_BYTES, []
    for item in items:
        encoded = encode(item)
        room -= encoded.ByteSize() + _AROUND
        if room < 0:
            break
        found.append(encoded)
    return found


async def add_page(
    request: ListRequest, page: Page[T], encode: Callable[[T], M], add: Callable[[M], None]
) -> str:
    """Add the items of a page to an answer, by ``add``, and return the token of the page after it.

    It ends early at 8 MiB, though not before its first item; the next one begins where it ended.
    """
    return await aside.done(page.size, lambda: _added(request, page, encode, add))


def _added(
    request: ListRequest, page: Page[T], encode: Callable[[T], M], add: Callable[[M], None]
) -> str:
    room = PAGE_BYTES
    last: Cursor | None = None
    for item, cursor in zip(page.items, page.cursors, strict=True):
        encoded = encode(item)
        room -= encoded.ByteSize() + _AROUND
        if room < 0 and last is not None:
            return encode_cursor(request, last)
        add(encoded)
        last = cursor
    return encode_cursor(request, page.next_cursor)
