"""Watches executions until each has ended: ``python -m bench.watching ADDRESS``, names on stdin.

A process of its own, and of the lowest priority: callers of watches have machines of their own, and
are not to take what is measured from those whom they watch. Says ``watching`` once each watch has
its first message, and how many there were in the end.
"""

from __future__ import annotations

import asyncio
import os
import sys

import grpc
import grpc.aio

from bench.run import say
from zart.v1 import execution_service_pb2 as pb

WATCHING = "watching"
_METHOD = "/zart.v1.ExecutionService/WatchExecution"
_BEGIN = 100  # watches at a time
_LOWEST = 19


async def _watched(address: str, names: list[str]) -> None:
    """Watch executions and tell of it."""
    messages, begun = 0, 0
    # Bytes: what their callers make of them is not measured.
    async with grpc.aio.insecure_channel(address) as channel:
        watch: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(_METHOD)
        begin = asyncio.Semaphore(_BEGIN)

        async def follow(name: str) -> None:
            nonlocal messages, begun
            request = pb.WatchExecutionRequest(execution_id=name).SerializeToString()
            async with begin:
                call = watch(request)
                await call.read()
            begun += 1
            messages += 1
            if begun == len(names):
                say(WATCHING)
            while await call.read() is not grpc.aio.EOF:
                messages += 1

        await asyncio.gather(*map(follow, names))
    say(str(messages))


if __name__ == "__main__":
    os.nice(_LOWEST)
    asyncio.run(_watched(sys.argv[1], sys.stdin.read().split()))
