"""Good requests for BatchService."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.message import Message

import zart
from zart.v1 import batch_pb2 as batch
from zart.v1 import batch_service_pb2 as batches
from zart.v1 import filter_pb2 as filters


class BatchBases:
    """Two batches that come to nothing, one of them over in the end."""

    _unfinished = _batch = _over = ""

    async def prepare_batches(self, client: zart.Client, unfinished: Sequence[str]) -> None:
        """Make the batches of executions that are refused to be restarted, one each 100 seconds."""
        self._unfinished = unfinished[0]
        self._batch, self._over = [
            (
                await client.create_batch(
                    zart.Restart(), execution_ids=unfinished, rate_per_second=0.01
                )
            ).batch_id
            for _ in range(2)
        ]

    def _create_batch(self) -> Message:
        return batches.CreateBatchRequest(
            operation=batch.BatchOperation(restart=batch.BatchRestart()),
            selection=filters.ExecutionSelection(
                execution_ids=filters.ExecutionIds(execution_ids=[self._unfinished])
            ),
        )

    def _get_batch(self) -> Message:
        return batches.GetBatchRequest(batch_id=self._batch)

    def _list_batch_items(self) -> Message:
        return batches.ListBatchItemsRequest(batch_id=self._batch)

    def _update_batch(self) -> Message:
        return batches.UpdateBatchRequest(batch_id=self._batch, rate_per_second=0.01)

    def _pause_batch(self) -> Message:
        return batches.PauseBatchRequest(batch_id=self._batch)

    def _resume_batch(self) -> Message:
        return batches.ResumeBatchRequest(batch_id=self._batch)

    def _cancel_batch(self) -> Message:
        return batches.CancelBatchRequest(batch_id=self._over)

    def _watch_batch(self) -> Message:
        return batches.WatchBatchRequest(batch_id=self._over)
