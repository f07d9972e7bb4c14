"""BatchService: a handler runs its mutation, or decodes, reads and encodes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from zart.v1 import batch_service_pb2 as pb
from zart.v1 import batch_service_pb2_grpc
from zart_server.api import decode_batch as decode
from zart_server.api.checks import Checks
from zart_server.api.context import Context
from zart_server.api.encode_batch import batch, batch_item
from zart_server.api.mutations.batch import (
    CANCEL_BATCH,
    CREATE_BATCH,
    PAUSE_BATCH,
    RESUME_BATCH,
    UPDATE_BATCH,
)
from zart_server.api.mutations.mutations import Mutations
from zart_server.api.page_tokens import page_of
from zart_server.api.pages import add_page
from zart_server.api.reading import Reading
from zart_server.domain.errors import BatchNotFound
from zart_server.engine.background.batch_watches import BatchWatches
from zart_server.store.batches.items import list_items
from zart_server.store.batches.rows import list_batches, read_batch


class BatchServicer(batch_service_pb2_grpc.BatchServiceServicer):
    """Makes, reads and changes batches."""

    def __init__(self, mutations: Mutations, reading: Reading, watches: BatchWatches) -> None:
        self._mutations = mutations
        self._reading = reading
        self._watches = watches

    async def CreateBatch(
        self, request: pb.CreateBatchRequest, context: Context
    ) -> pb.CreateBatchResponse:
        """Make a batch, or plan it."""
        return await self._mutations.run(CREATE_BATCH, request)

    async def GetBatch(self, request: pb.GetBatchRequest, context: Context) -> pb.GetBatchResponse:
        """Read a batch."""
        batch_id = decode.one_batch(request).batch_id
        return pb.GetBatchResponse(batch=batch(await self._watches.read(batch_id)))

    async def ListBatches(
        self, request: pb.ListBatchesRequest, context: Context
    ) -> pb.ListBatchesResponse:
        """List batches."""
        with Checks() as check:
            statuses = check(decode.list_batches, request)
            size, cursor = check(page_of, request)
        async with self._reading.connection() as connection:
            page = await list_batches(connection, statuses, cursor, size)
        response = pb.ListBatchesResponse()
        response.next_page_token = await add_page(request, page, batch, response.batches.append)
        return response

    async def ListBatchItems(
        self, request: pb.ListBatchItemsRequest, context: Context
    ) -> pb.ListBatchItemsResponse:
        """List the items of a batch."""
        with Checks() as check:
            wanted = check(decode.list_batch_items, request)
            size, cursor = check(page_of, request)
        batch_id, statuses, step_statuses = wanted
        async with self._reading.transaction(snapshot=True) as tx:
            row = await read_batch(tx, batch_id)
            if row is None:
                raise BatchNotFound(batch_id)
            page = await list_items(tx, row, statuses, step_statuses, cursor, size)
        response = pb.ListBatchItemsResponse()
        response.next_page_token = await add_page(request, page, batch_item, response.items.append)
        return response

    async def UpdateBatch(
        self, request: pb.UpdateBatchRequest, context: Context
    ) -> pb.UpdateBatchResponse:
        """Change the pace of a batch."""
        return await self._mutations.run(UPDATE_BATCH, request)

    async def PauseBatch(
        self, request: pb.PauseBatchRequest, context: Context
    ) -> pb.PauseBatchResponse:
        """Pause a batch."""
        return await self._mutations.run(PAUSE_BATCH, request)

    async def ResumeBatch(
        self, request: pb.ResumeBatchRequest, context: Context
    ) -> pb.ResumeBatchResponse:
        """Have a paused batch go on."""
        return await self._mutations.run(RESUME_BATCH, request)

    async def CancelBatch(
        self, request: pb.CancelBatchRequest, context: Context
    ) -> pb.CancelBatchResponse:
        """End a batch."""
        return await self._mutations.run(CANCEL_BATCH, request)

    async def WatchBatch(
        self, request: pb.WatchBatchRequest, context: Context
    ) -> AsyncIterator[pb.WatchBatchResponse]:
        """Stream a batch."""
        batch_id, until = decode.watch_batch(request)
        async with aclosing(self._watches.watch(batch_id, until)) as all_told:
            async for item in all_told:
                yield pb.WatchBatchResponse(batch=batch(item))
