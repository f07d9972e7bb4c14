"""A watch by either client ends after its timeout, whatever it is told meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import grpc
import grpc.aio
import pytest
from batching import dead_steps
from client.scripted import EXECUTION
from rig import Rig
from waiting import GIVE_UP

import zart
from zart.calls import execution as calls
from zart.testing.server import ServerUnderTest
from zart.v1 import execution_pb2 as states
from zart.v1 import execution_service_pb2 as execution
from zart.v1 import execution_service_pb2_grpc

SOON = 0.5  # seconds
TOO_LATE = "the watch was not over after 0.5 s"
AT_WORK = execution.WatchExecutionResponse(
    execution=EXECUTION, run=states.Run(run_id="x:run:0", status=states.RUN_STATUS_RUNNING)
)

CALL = calls.watch_execution("x")
# Of either client: what they take is the same (test_both_clients.py).
Watch = Callable[[Any, str, str, float], Any]
WATCHES: dict[str, Watch] = {
    "an execution": lambda client, _rule, _batch, most: client.watch_execution("x", timeout=most),
    "a pause rule": lambda client, rule, _batch, most: client.watch_pause_rule(rule, timeout=most),
    "a batch": lambda client, _rule, batch, most: client.watch_batch(batch, timeout=most),
    "a call": lambda client, _rule, _batch, most: client.watch(CALL, timeout=most),
    "a call, raw": lambda client, _rule, _batch, most: client.watch_raw(CALL, timeout=most),
}


async def told_by(watch: Any) -> list[Any]:
    """Return all that a watch tells, of whichever client."""
    if isinstance(watch, Iterator):
        return await asyncio.to_thread(list, watch)
    return [told async for told in watch]


@pytest.fixture(params=["async", "sync"])
async def either(request: Any, zart_server: ServerUnderTest) -> AsyncIterator[Any]:
    """Either client."""
    if request.param == "async":
        async with zart.connect(zart_server.address) as client:
            yield client
    else:
        with zart.connect_sync(zart_server.address) as sync:
            yield sync


@pytest.mark.parametrize("kind", WATCHES)
async def test_a_watch_that_is_not_over_in_time_says_so(rig: Rig, either: Any, kind: str) -> None:
    await dead_steps(rig.client, 3, "dead")
    created = await rig.client.create_batch(zart.RetryStep(), everything=True, rate_per_second=0.01)
    await rig.start("x", {"a": ()})
    paused = await rig.client.pause(task_name="t")
    async with asyncio.timeout(GIVE_UP):
        for most in (SOON, 0):
            with pytest.raises(TimeoutError, match=TOO_LATE.replace(str(SOON), str(most))):
                await told_by(WATCHES[kind](either, paused.rule_id, created.batch_id, most))


@pytest.mark.parametrize("kind", WATCHES)
async def test_a_watch_that_is_over_in_time_ends_as_without(
    rig: Rig, either: Any, kind: str
) -> None:
    await dead_steps(rig.client, 1, "dead")
    created = await rig.client.create_batch(zart.CancelExecution(), execution_ids=["dead-0"])
    paused = await rig.client.pause(task_name="other")
    await rig.client.resume(rule_id=paused.rule_id)
    await rig.start("x", {"a": ()})
    await rig.work()
    watch = WATCHES[kind](either, paused.rule_id, created.batch_id, GIVE_UP)
    assert await told_by(watch)


class Telling(execution_service_pb2_grpc.ExecutionServiceServicer):
    """Tells of a run again and again, without an end."""

    async def WatchExecution(
        self,
        request: execution.WatchExecutionRequest,  # noqa: ARG002 - gRPC's
        context: Any,  # noqa: ARG002 - gRPC's
    ) -> AsyncIterator[execution.WatchExecutionResponse]:
        while True:
            yield AT_WORK


@pytest.fixture
async def telling() -> AsyncIterator[str]:
    """Run a server that tells of a run without an end."""
    server = grpc.aio.server()
    servicer = Telling()  # type: ignore[abstract]
    execution_service_pb2_grpc.add_ExecutionServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(None)


async def test_a_timeout_is_of_the_watch_not_of_the_wait_for_a_message(telling: str) -> None:
    async with asyncio.timeout(GIVE_UP), zart.connect(telling) as client:
        with pytest.raises(TimeoutError, match=TOO_LATE):
            await told_by(client.watch_execution("x", timeout=SOON))
        with zart.connect_sync(telling) as sync, pytest.raises(TimeoutError, match=TOO_LATE):
            await told_by(sync.watch_execution("x", timeout=SOON))
