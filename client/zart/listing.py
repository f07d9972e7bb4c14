"""Lists on the server, page after page, with asyncio and without."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from typing import Any, Generic, Protocol, TypeVar

from zart.calls.call import Call, ListCall
from zart.models import Page

T = TypeVar("T")
Answer = TypeVar("Answer")


class Sends(Protocol):
    """What sends calls: a client."""

    async def send(self, call: Call[Answer]) -> Answer:
        """Send a call and read its answer."""


class Listing(Generic[T]):
    """A list on the server: iterate over all items, over pages, or await all of them.

    ``async for item in listing`` · ``async for page in listing.pages()`` · ``await listing``
    """

    def __init__(self, client: Sends, call: ListCall[T]) -> None:
        self._client = client
        self._call = call

    async def pages(self) -> AsyncGenerator[Page[T], None]:
        """Return page after page."""
        call = self._call
        while True:
            page = await self._client.send(call)
            yield page
            if not page.next_page_token:
                return
            call = call.after(page.next_page_token)

    async def __aiter__(self) -> AsyncIterator[T]:
        async for page in self.pages():
            for item in page.items:
                yield item

    def __await__(self) -> Generator[Any, None, list[T]]:
        return self._all().__await__()

    async def _all(self) -> list[T]:
        return [item async for item in self]


class SendsNow(Protocol):
    """What sends calls, without asyncio: a client."""

    def send(self, call: Call[Answer]) -> Answer:
        """Send a call and read its answer."""


class SyncListing(Generic[T]):
    """A list on the server: iterate over all items, or over pages."""

    def __init__(self, client: SendsNow, call: ListCall[T]) -> None:
        self._client = client
        self._call = call

    def pages(self) -> Iterator[Page[T]]:
        """Return page after page."""
        call = self._call
        while True:
            page = self._client.send(call)
            yield page
            if not page.next_page_token:
                return
            call = call.after(page.next_page_token)

    def __iter__(self) -> Iterator[T]:
        for page in self.pages():
            yield from page.items
