"""What waits by design has rooms apart, and in those of watches nobody is alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from issuing import Connect, TokenFile
from rig import specs, until_polled

import zart
from zart import errors
from zart.testing.server import ServerUnderTest, serving
from zart.v1 import (
    admin_service_pb2,
    admin_service_pb2_grpc,
    execution_service_pb2,
    execution_service_pb2_grpc,
)
from zart_server.api import health
from zart_server.api.limits import MOST_ABOUT_THE_SERVER

HALF = MOST_ABOUT_THE_SERVER // 2


def watched(client: zart.Client) -> Any:
    """Watch the health of a server; gives the call."""
    return health_pb2_grpc.HealthStub(client.channel).Watch(health_pb2.HealthCheckRequest())


def watched_execution(client: zart.Client) -> Any:
    """Watch an execution; gives the call."""
    stub = execution_service_pb2_grpc.ExecutionServiceStub(client.channel)
    return stub.WatchExecution(execution_service_pb2.WatchExecutionRequest(execution_id="x"))


async def verified(client: zart.Client) -> Any:
    """Verify a pause rule, which waits for its turn in the room of watches."""
    request = admin_service_pb2.VerifyPauseRuleRequest(rule_id="pr-1")
    return await admin_service_pb2_grpc.AdminServiceStub(client.channel).VerifyPauseRule(request)


async def told(client: zart.Client) -> Any:
    """Watch health until it is told once; gives the call."""
    call = watched(client)
    await call.read()
    return call


async def is_busy(client: zart.Client) -> bool:
    """Return whether one more watch of health is refused as too many."""
    try:
        await anext(aiter(watched(client)))
    except grpc.aio.AioRpcError as error:
        return isinstance(errors.from_call(error), errors.ServerBusy)
    return False


async def test_who_watches_health_keeps_nobody_from_dispatching(connect: Connect) -> None:
    """It had no role, and one connection of it all places of dispatchers and of watches."""
    nobody, viewer = connect("nobody"), connect("viewer")
    held = [await told(nobody) for _ in range(HALF)]
    assert await is_busy(nobody)
    held += [await told(viewer) for _ in range(HALF)]
    assert await is_busy(connect("operator"))

    await connect("starter").start("t", execution_id="x", steps=specs({"a": ()}))
    assert len(await connect("dispatcher").lease_tasks("d", ["t"], wait=60)) == 1
    async for change in viewer.watch_execution("x"):
        assert change
        break
    for call in held:
        call.cancel()


@pytest.fixture
async def four(zart_database: str, tokens: TokenFile) -> AsyncIterator[tuple[ServerUnderTest, Any]]:
    """A server with four places for what waits, and what connects to it by the name of a token."""
    with serving(zart_database, auth_tokens=tokens.path, max_waiting_calls=4) as server:
        async with AsyncExitStack() as stack:

            async def opener(name: str) -> zart.Client:
                credentials = zart.Credentials(token=f"zart_token-of-{name}")
                return await stack.enter_async_context(
                    zart.connect(server.address, credentials=credentials)
                )

            yield server, opener


async def test_one_principal_has_half_of_the_watches_and_dispatchers_all_of_theirs(
    four: tuple[ServerUnderTest, Any],
) -> None:
    server, opener = four
    viewer, admin, dispatcher = [await opener(n) for n in ("viewer", "admin", "dispatcher")]
    await admin.start("t", execution_id="x", steps=specs({"a": ()}))
    async with AsyncExitStack() as held:
        for client in (viewer, viewer, admin, admin):
            watching = watched_execution(client)
            held.callback(watching.cancel)
            await watching.read()
            if client is viewer:
                continue
            for one_more in (watched_execution(viewer).read(), verified(viewer)):
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await one_more
                assert isinstance(errors.from_call(refused.value), errors.ServerBusy)
        polls = [asyncio.create_task(dispatcher.lease_tasks("d", ["u"], wait=60)) for _ in range(4)]
        await until_polled(server, 4)
        for poll in polls:
            poll.cancel()
        await asyncio.gather(*polls, return_exceptions=True)


async def test_a_watch_of_health_ends_with_its_token(
    connect: Connect, tokens: TokenFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "_JUDGED_EACH", 0.05)
    call = await told(connect("nobody"))
    tokens.remove("nobody")
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await call.read()
    assert ended.value.code() is grpc.StatusCode.UNAUTHENTICATED
