"""RetentionService: a handler runs its mutation, or decodes, reads and encodes."""

from __future__ import annotations

from zart.v1 import retention_service_pb2 as pb
from zart.v1 import retention_service_pb2_grpc
from zart_server.api.checks import Checks
from zart_server.api.context import Context
from zart_server.api.encode import duration
from zart_server.api.encode_retention import stats, task_retention
from zart_server.api.mutations.mutations import Mutations
from zart_server.api.mutations.retention import PURGE_EXECUTIONS, SET_RETENTION, UNSET_RETENTION
from zart_server.api.page_tokens import page_of
from zart_server.api.pages import add_page
from zart_server.api.reading import Reading
from zart_server.domain.retention import Kept
from zart_server.store.reads.stats import read_stats
from zart_server.store.retention.tasks import list_task_retention


class RetentionServicer(retention_service_pb2_grpc.RetentionServiceServicer):
    """Sets and tells for how long what has ended is kept. ``kept``: what this server is set to."""

    def __init__(self, mutations: Mutations, reading: Reading, kept: Kept) -> None:
        self._mutations = mutations
        self._reading = reading
        self._kept = kept

    async def SetRetention(
        self, request: pb.SetRetentionRequest, context: Context
    ) -> pb.SetRetentionResponse:
        """Set for how long executions of a task are kept."""
        return await self._mutations.run(SET_RETENTION, request)

    async def UnsetRetention(
        self, request: pb.UnsetRetentionRequest, context: Context
    ) -> pb.UnsetRetentionResponse:
        """Set nothing for a task any more."""
        return await self._mutations.run(UNSET_RETENTION, request)

    async def ListRetention(
        self, request: pb.ListRetentionRequest, context: Context
    ) -> pb.ListRetentionResponse:
        """Tell for how long executions are kept."""
        with Checks() as check:
            size, cursor = check(page_of, request, str)
        async with self._reading.connection() as connection:
            page = await list_task_retention(connection, cursor, size)
        response = pb.ListRetentionResponse(
            keep_for=duration(self._kept.executions),
            keep_operations_for=duration(self._kept.operations),
        )
        response.next_page_token = await add_page(
            request, page, task_retention, response.tasks.append
        )
        return response

    async def PurgeExecutions(
        self, request: pb.PurgeExecutionsRequest, context: Context
    ) -> pb.PurgeExecutionsResponse:
        """Remove executions that ended long enough ago."""
        return await self._mutations.run(PURGE_EXECUTIONS, request)

    async def GetStats(self, request: pb.GetStatsRequest, context: Context) -> pb.GetStatsResponse:
        """Tell how much there is."""
        async with self._reading.connection() as connection:
            found = await read_stats(connection)
        return stats(found)
