"""Page tokens that callers made up, and times finer than the database keeps them."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import Any

import pytest
from batching import until_batch
from doubts import in_doubt
from google.protobuf.timestamp_pb2 import Timestamp
from rig import CHAIN, Rig

import zart
from zart import errors
from zart.calls.call import Call
from zart.v1 import admin_service_pb2 as admin
from zart.v1 import audit_service_pb2 as audit
from zart.v1 import batch_service_pb2 as batch
from zart.v1 import breaker_service_pb2 as breaker
from zart.v1 import execution_service_pb2 as execution
from zart.v1 import retention_service_pb2 as retention

LISTS = {
    "runs": admin.ListRunsRequest(execution_id="x", page_size=1),
    "rules": admin.ListPauseRulesRequest(page_size=1),
    "executions": execution.ListExecutionsRequest(page_size=1),
    "tasks": execution.ListTaskDefinitionsRequest(page_size=1),
    "operations": audit.ListOperationsRequest(page_size=1),
    "in doubt": admin.ListInDoubtRequest(page_size=1),
    "error groups": execution.ListErrorGroupsRequest(page_size=1),
    "breakers": breaker.ListBreakersRequest(page_size=1),
    "batches": batch.ListBatchesRequest(page_size=1),
    "batch items": batch.ListBatchItemsRequest(page_size=1),
    "retention": retention.ListRetentionRequest(page_size=1),
}
POSITIONS: list[Any] = [
    -1, 2**63, 10**4000, 1.5, True, None, [], {}, "", "a\x00b", "\ud800", "x" * 256,
]  # fmt: skip
# These could be where a page ends, of what there will never be so much.
BEYOND: list[Any] = [2**31 - 1, 2**31, 2**63 - 1, f"{2**31}:{2**63}:{2**64}", "~"]


async def send(rig: Rig, request: Any) -> Any:
    """Send a request."""
    name = type(request).__name__.removesuffix("Request")
    service = next(iter(request.DESCRIPTOR.file.services_by_name.values()))
    return await rig.client.send(Call(service.methods_by_name[name], request, lambda m: m))


def token_with(token: str, position: Any) -> str:
    """Change the position in a token that the server made."""
    binding, _ = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    return base64.urlsafe_b64encode(json.dumps([binding, position]).encode()).decode().rstrip("=")


async def _first_page(rig: Rig, listing: Any) -> tuple[Any, str]:
    """Make two of whatever is listed; return the request for the first, and the second's token."""
    for n in range(2):
        await rig.start(f"x{n}" if n else "x", CHAIN)
        await rig.client.pause(task_name=f"t{n}")
        await rig.client.restart("x")
        await rig.client.create_breaker(task_name=f"t{n}", failure_threshold=1, window=60)
        await rig.client.set_retention(f"t{n}", 86_400)
        await in_doubt(rig, f"d{n}", task=f"w{n}")
    rig.registers = True
    await rig.start("y", CHAIN, task="u")
    await rig.start("z", CHAIN, task="v")
    asked = type(listing)()
    asked.CopyFrom(listing)
    for execution_ids in (["x"], ["y", "z"]):
        made = await rig.client.create_batch(zart.CancelExecution(), execution_ids=execution_ids)
        await until_batch(rig.client, made.batch_id, "COMPLETED")
    if isinstance(asked, batch.ListBatchItemsRequest):
        asked.batch_id = made.batch_id
    token = (await send(rig, asked)).next_page_token
    assert token
    return asked, token


@pytest.mark.parametrize("listing", LISTS.values(), ids=LISTS)
async def test_a_position_that_no_page_ends_at(rig: Rig, listing: Any) -> None:
    asked, token = await _first_page(rig, listing)
    for position in POSITIONS:
        asked.page_token = token_with(token, position)
        with pytest.raises(errors.InvalidField) as refused:
            await send(rig, asked)
        assert list(refused.value.fields) == ["page_token"]
    answered = 0
    for position in BEYOND:
        asked.page_token = token_with(token, position)
        with contextlib.suppress(errors.InvalidField):  # of another kind than this list's
            await send(rig, asked)
            answered += 1
    assert answered


async def test_times_below_a_microsecond_are_exact(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    created = (await send(rig, execution.GetExecutionRequest(execution_id="x"))).execution

    def later(nanos: int) -> Timestamp:
        time = Timestamp()
        time.FromNanoseconds(created.created_at.ToNanoseconds() + nanos)
        return time

    async def found(**bounds: Any) -> bool:
        listed = await send(rig, execution.ListExecutionsRequest(**bounds))
        return bool(listed.executions)

    assert [await found(created_after=later(n)) for n in (-1, 0, 1, 1000)] == [
        True, True, False, False,
    ]  # fmt: skip
    assert [await found(created_before=later(n)) for n in (-1, 0, 1, 1000)] == [
        False, False, True, True,
    ]  # fmt: skip
