"""BreakerService: a handler runs its mutation, or decodes, reads and encodes."""

from __future__ import annotations

from zart.v1 import breaker_service_pb2 as pb
from zart.v1 import breaker_service_pb2_grpc
from zart_server.api import decode_breaker as decode
from zart_server.api.checks import Checks
from zart_server.api.context import Context
from zart_server.api.encode_breaker import breaker
from zart_server.api.mutations.breaker import (
    CREATE_BREAKER,
    UPDATE_BREAKER,
    delete_mutation,
    reset_mutation,
    trip_mutation,
)
from zart_server.api.mutations.mutations import Mutations
from zart_server.api.page_tokens import page_of
from zart_server.api.pages import add_page
from zart_server.api.reading import Reading
from zart_server.domain.errors import BreakerNotFound
from zart_server.store.breaking.rows import find_breaker, list_breakers


class BreakerServicer(breaker_service_pb2_grpc.BreakerServiceServicer):
    """Makes, reads and changes breakers."""

    def __init__(self, mutations: Mutations, reading: Reading) -> None:
        self._mutations = mutations
        self._reading = reading
        self._delete = delete_mutation(mutations.patience)
        self._trip = trip_mutation(mutations.patience)
        self._reset = reset_mutation(mutations.patience)

    async def CreateBreaker(
        self, request: pb.CreateBreakerRequest, context: Context
    ) -> pb.CreateBreakerResponse:
        """Make a breaker."""
        return await self._mutations.run(CREATE_BREAKER, request)

    async def GetBreaker(
        self, request: pb.GetBreakerRequest, context: Context
    ) -> pb.GetBreakerResponse:
        """Read a breaker."""
        breaker_id = decode.one_breaker(request).breaker_id
        async with self._reading.connection() as connection:
            row = await find_breaker(connection, breaker_id)
        if row is None:
            raise BreakerNotFound(breaker_id)
        return pb.GetBreakerResponse(breaker=breaker(row.breaker))

    async def ListBreakers(
        self, request: pb.ListBreakersRequest, context: Context
    ) -> pb.ListBreakersResponse:
        """List breakers."""
        with Checks() as check:
            size, cursor = check(page_of, request)
        async with self._reading.connection() as connection:
            page = await list_breakers(connection, cursor, size)
        response = pb.ListBreakersResponse()
        response.next_page_token = await add_page(request, page, breaker, response.breakers.append)
        return response

    async def UpdateBreaker(
        self, request: pb.UpdateBreakerRequest, context: Context
    ) -> pb.UpdateBreakerResponse:
        """Change a breaker's settings."""
        return await self._mutations.run(UPDATE_BREAKER, request)

    async def DeleteBreaker(
        self, request: pb.DeleteBreakerRequest, context: Context
    ) -> pb.DeleteBreakerResponse:
        """Delete a breaker."""
        return await self._mutations.run(self._delete, request)

    async def TripBreaker(
        self, request: pb.TripBreakerRequest, context: Context
    ) -> pb.TripBreakerResponse:
        """Open a breaker by hand."""
        return await self._mutations.run(self._trip, request)

    async def ResetBreaker(
        self, request: pb.ResetBreakerRequest, context: Context
    ) -> pb.ResetBreakerResponse:
        """Close a breaker by hand."""
        return await self._mutations.run(self._reset, request)
