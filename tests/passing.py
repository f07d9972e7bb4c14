"""One DispatchTasks stream on its way through a proxy, message by message."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc.aio

from zart.v1 import dispatch_service_pb2 as pb

KINDS = {"lease": "LeaseTasks", "report": "ReportTasks", "extend": "ExtendLeases", "ping": "Ping"}


class Passing:
    """Passes a stream to ``call``, the server's, until ``refuse`` has something against a request.

    That is ``refused`` then, with the name of the call of its kind.
    """

    def __init__(self, call: Any, refuse: Callable[[str, bytes], Any]) -> None:
        self._call = call
        self._refuse = refuse
        self._asked: dict[int, tuple[str, Any]] = {}
        self._is_refused = asyncio.Event()
        self.refused: tuple[str, Any] | None = None

    async def answers(self, requests: AsyncIterator[bytes]) -> AsyncIterator[tuple[str, bytes]]:
        """Yield the server's answers, each with the kind of its request; "" of what nobody asked.

        Raises what the server ends the stream with.
        """
        sending = asyncio.create_task(self._send(requests))
        cut = asyncio.create_task(self._is_refused.wait())
        try:
            while True:
                reading = asyncio.create_task(self._call.read())
                await asyncio.wait({reading, cut}, return_when=asyncio.FIRST_COMPLETED)
                if self.refused is not None:
                    reading.cancel()
                    return
                answer = reading.result()
                if answer is grpc.aio.EOF:
                    return
                number = pb.DispatchTasksResponse.FromString(answer).number
                kind, refusal = self._asked.pop(number, ("", None))
                if refusal is not None:
                    self.refused = kind, refusal
                    return
                yield kind, answer
        finally:
            sending.cancel()
            cut.cancel()
            self._call.cancel()

    async def _send(self, requests: AsyncIterator[bytes]) -> None:
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):  # it has ended
            await self._send_all(requests)

    async def _send_all(self, requests: AsyncIterator[bytes]) -> None:
        async for sent in requests:
            request = pb.DispatchTasksRequest.FromString(sent)
            which = request.WhichOneof("request")
            assert which is not None
            refusal = self._refuse(KINDS[which], getattr(request, which).SerializeToString())
            if refusal is not None and not refusal.late:
                self.refused = KINDS[which], refusal
                self._is_refused.set()
                return
            self._asked[request.number] = KINDS[which], refusal
            await self._call.write(sent)
        await self._call.done_writing()
