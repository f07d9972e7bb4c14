"""Server reflection: services, their methods, and fields with their JSON names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing
from typing import Any

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha import reflection

from zart.descriptors import copy_with_json_names
from zart_server.api.context import Context
from zart_server.domain.errors import ShuttingDown


class _File:
    """A file as reflection asks for it."""

    def __init__(self, file: FileDescriptor) -> None:
        self._file = file
        self.name = file.name

    @property
    def dependencies(self) -> list[_File]:
        return [_File(imported) for imported in self._file.dependencies]

    def CopyToProto(self, proto: FileDescriptorProto) -> None:
        copy_with_json_names(self._file, proto)


class ReflectedPool:
    """The default pool; `grpcurl describe` may also ask for a method by its name."""

    def __getattr__(self, name: str) -> object:
        return getattr(descriptor_pool.Default(), name)

    def FindFileByName(self, name: str) -> _File:
        """Find a file. Raises KeyError."""
        return _File(descriptor_pool.Default().FindFileByName(name))

    def FindFileContainingSymbol(self, symbol: str) -> _File:
        """Find the file of a symbol, that of a method by its service. Raises KeyError."""
        pool = descriptor_pool.Default()
        try:
            return _File(pool.FindFileContainingSymbol(symbol))
        except KeyError:
            return _File(pool.FindFileContainingSymbol(symbol.rpartition(".")[0]))


class Reflection(reflection.aio.ReflectionServicer):  # type: ignore[misc]  # it has no types
    """The reflection service of the services with these names; its streams end at ``draining``.

    The library's end where their callers end them, which a stop would wait for.
    """

    def __init__(self, services: Iterable[str], draining: asyncio.Event) -> None:
        super().__init__(services, pool=ReflectedPool())
        self._draining = draining

    async def ServerReflectionInfo(
        self, request_iterator: AsyncIterator[Any], context: Context
    ) -> AsyncIterator[Any]:
        """Answer what is asked in one stream. Raises ShuttingDown when this server stops."""
        async with (
            aclosing(self._until_draining(request_iterator)) as requests,
            aclosing(super().ServerReflectionInfo(requests, context)) as answers,
        ):
            async for answer in answers:
                yield answer

    async def _until_draining(self, requests: AsyncIterator[Any]) -> AsyncGenerator[Any]:
        draining = asyncio.create_task(self._draining.wait())
        try:
            while (request := await _next_of(requests, draining)) is not None:
                yield request
        finally:
            draining.cancel()


async def _next_of(requests: AsyncIterator[Any], draining: asyncio.Task[Any]) -> object | None:
    """Return the next request, None: there is none. Raises ShuttingDown where that comes first."""
    reading = asyncio.create_task(_read(requests))
    try:
        await asyncio.wait({reading, draining}, return_when=asyncio.FIRST_COMPLETED)
        if not reading.done():
            raise ShuttingDown
        return reading.result()
    finally:
        reading.cancel()
        del reading  # its error knows this frame: together they would be kept for long


async def _read(requests: AsyncIterator[Any]) -> object | None:
    return await anext(requests, None)
