"""Calls that come at one moment: each is answered, or told that the server is busy."""

from __future__ import annotations

import asyncio
from collections import Counter

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from zart import errors
from zart.testing.server import serving
from zart.v1 import execution_service_pb2, execution_service_pb2_grpc

BURST = 2_000  # gRPC drops some by itself where more than 1,000 wait to be looked at
_OWN = [("grpc.use_local_subchannel_pool", 1)]  # a connection for each channel


async def test_no_call_of_a_burst_is_dropped_without_a_word(zart_database: str) -> None:
    with serving(zart_database, max_calls=50) as server:
        channels = [grpc.aio.insecure_channel(server.address, options=_OWN) for _ in range(4)]
        answers: Counter[str] = Counter()

        async def check(channel: grpc.aio.Channel) -> None:
            try:
                await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
                answers["checked"] += 1
            except grpc.aio.AioRpcError as error:
                answers[f"check: {error.code().name}"] += 1

        async def read(channel: grpc.aio.Channel) -> None:
            stub = execution_service_pb2_grpc.ExecutionServiceStub(channel)
            try:
                await stub.GetExecution(execution_service_pb2.GetExecutionRequest(execution_id="x"))
            except grpc.aio.AioRpcError as error:
                answers[type(errors.from_call(error)).__name__] += 1

        for call in (check, read):
            await asyncio.gather(*(call(channels[n % 4]) for n in range(BURST)))
        for channel in channels:
            await channel.close()
    assert answers.pop("checked") == BURST
    assert answers["ExecutionNotFound"] > 0
    assert answers["ExecutionNotFound"] + answers["ServerBusy"] == BURST, answers
    assert set(answers) <= {"ExecutionNotFound", "ServerBusy"}
