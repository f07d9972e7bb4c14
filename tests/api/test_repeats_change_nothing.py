"""A repeat of any mutation is answered as it was before, and adds no row to any table."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest
from batching import dead_steps, until_batch
from fuzzing.bases import Bases, rpcs
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass
from rig import Rig
from stored import everything
from waiting import eventually

import zart
from zart.testing.server import ServerUnderTest

MUTATIONS = [rpc for rpc in rpcs() if "request_id" in rpc.input_type.fields_by_name]


async def at_rest(db: asyncpg.Connection[asyncpg.Record]) -> dict[str, int]:
    """Wait until the server has nothing to do by itself, and return how many rows there are."""
    last: list[dict[str, int]] = [{}]

    async def is_at_rest() -> bool:
        seen = await rows(db)
        is_same, last[0] = seen == last[0], seen
        return is_same and not seen["pause_work"]

    await eventually(is_at_rest)
    return last[0]


async def rows(db: asyncpg.Connection[asyncpg.Record]) -> dict[str, int]:
    """Count the rows of each table."""
    return {name: len(found) for name, found in (await everything(db)).items()}


@pytest.mark.parametrize("rpc", MUTATIONS, ids=lambda rpc: str(rpc.name))
async def test_a_repeat_adds_no_row(
    rig: Rig, zart_server: ServerUnderTest, rpc: MethodDescriptor
) -> None:
    bases = Bases()
    await bases.prepare(rig.client, 2)
    request: Any = bases.of(rpc)
    bases.renew(request)
    request.request_id = "once"
    send: Any = rig.client.channel.unary_unary(
        f"/{rpc.containing_service.full_name}/{rpc.name}",
        request_serializer=type(request).SerializeToString,
        response_deserializer=GetMessageClass(rpc.output_type).FromString,
    )
    first = await send(request)
    # What a batch does now and then would come between two looks that found the same.
    stopping = zart_server.running.runtime.batches.stop()
    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(stopping, zart_server.loop))
    before = await at_rest(rig.db)
    again = await send(request)
    assert await rows(rig.db) == before
    assert again.replayed
    again.replayed = False
    assert again == first


async def test_a_batch_that_would_select_nothing_any_more_is_not_made_again(rig: Rig) -> None:
    await dead_steps(rig.client, 3)
    options: Any = {"filter": zart.ExecutionFilter(step_statuses=["DEAD"]), "request_id": "once"}
    made = await rig.client.create_batch(zart.RetryStep(), **options)
    assert made.batch is not None
    await until_batch(rig.client, made.batch.batch_id, "COMPLETED")
    again = await rig.client.create_batch(zart.RetryStep(), **options)
    assert again.replayed
    assert again.batch is not None
    assert [b.batch_id async for b in rig.client.list_batches()] == [made.batch.batch_id]
