"""The mutations of BatchService, each with what the engine does for it."""

from __future__ import annotations

from zart.v1 import batch_service_pb2 as pb
from zart_server.api import decode_batch as decode
from zart_server.api.attempted import refusal_of
from zart_server.api.checks import with_caller
from zart_server.api.encode_batch import batch, batch_plan
from zart_server.api.mutations.mutation import Grouping, Mutation, for_one
from zart_server.domain.batches import Batch, CreateBatch, CreatedBatch, OneBatch, UpdateBatch
from zart_server.domain.commands import Caller
from zart_server.engine.operations.cancel_batch import cancel_batch
from zart_server.engine.operations.create_batch import create_batch
from zart_server.engine.operations.pause_batch import pause_batch
from zart_server.engine.operations.resume_batch import resume_batch
from zart_server.engine.operations.update_batch import update_batch
from zart_server.store.connection import Tx


def _nothing(_command: CreateBatch) -> None:
    return None


def _batch_id(command: OneBatch | UpdateBatch) -> str:
    return f"\0batch {command.batch_id}"  # no execution is called so


async def _create(tx: Tx, command: CreateBatch, caller: Caller) -> CreatedBatch:
    return await create_batch(tx, command, caller, refusal_of)


def _created(done: CreatedBatch) -> pb.CreateBatchResponse:
    return pb.CreateBatchResponse(
        batch=None if done.batch is None else batch(done.batch),
        plan=None if done.plan is None else batch_plan(done.plan),
        plan_token=done.plan_token,
        planned=bool(done.plan_token),
    )


def _updated(changed: Batch) -> pb.UpdateBatchResponse:
    return pb.UpdateBatchResponse(batch=batch(changed))


def _paused(changed: Batch) -> pb.PauseBatchResponse:
    return pb.PauseBatchResponse(batch=batch(changed))


def _resumed(changed: Batch) -> pb.ResumeBatchResponse:
    return pb.ResumeBatchResponse(batch=batch(changed))


def _cancelled(changed: Batch) -> pb.CancelBatchResponse:
    return pb.CancelBatchResponse(batch=batch(changed))


CREATE_BATCH = Mutation(
    response_type=pb.CreateBatchResponse,
    decode=with_caller(decode.create_batch),
    operate=for_one(_create),
    encode=_created,
    target=_nothing,
    grouping=Grouping.ALONE,
)
UPDATE_BATCH = Mutation(
    response_type=pb.UpdateBatchResponse,
    decode=with_caller(decode.update_batch),
    operate=for_one(update_batch),
    encode=_updated,
    target=_batch_id,
    grouping=Grouping.ALONE,
)
PAUSE_BATCH: Mutation[pb.PauseBatchRequest, OneBatch, Batch, pb.PauseBatchResponse] = Mutation(
    response_type=pb.PauseBatchResponse,
    decode=with_caller(decode.one_batch),
    operate=for_one(pause_batch),
    encode=_paused,
    target=_batch_id,
    grouping=Grouping.ALONE,
)
RESUME_BATCH: Mutation[pb.ResumeBatchRequest, OneBatch, Batch, pb.ResumeBatchResponse] = Mutation(
    response_type=pb.ResumeBatchResponse,
    decode=with_caller(decode.one_batch),
    operate=for_one(resume_batch),
    encode=_resumed,
    target=_batch_id,
    grouping=Grouping.ALONE,
)
CANCEL_BATCH: Mutation[pb.CancelBatchRequest, OneBatch, Batch, pb.CancelBatchResponse] = Mutation(
    response_type=pb.CancelBatchResponse,
    decode=with_caller(decode.one_batch),
    operate=for_one(cancel_batch),
    encode=_cancelled,
    target=_batch_id,
    grouping=Grouping.ALONE,
)
