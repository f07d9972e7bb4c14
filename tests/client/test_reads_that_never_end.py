"""A call that gRPC knows to be over, while it never ends the read of its next message."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import grpc.aio
import pytest
from client.no_threads import no_more_threads
from client.test_broken_watches import AT_WORK, OVER, STARTED, Breaking, serving_breaking
from google.protobuf.message import Message
from grpc import _channel
from waiting import GIVE_UP, for_ever

import zart
from zart import next_messages
from zart.dispatcher import stream as streams
from zart.dispatcher.pulse import Pulse
from zart.dispatcher.stream import Asked, Stream, StreamEnded
from zart.dispatcher.thread_room import ThreadRoom
from zart.gateway.bindings import all_services, bindings_of
from zart.gateway.calls import Calls
from zart.v1 import dispatch_service_pb2 as pb
from zart.v1 import execution_service_pb2

LOST = grpc.StatusCode.UNAVAILABLE
SOON = 0.3  # seconds


class _Core:
    """Stands in for gRPC's core: it tells messages, then the status, and leaves the read open."""

    def __init__(self, messages: list[Message], code: grpc.StatusCode | None) -> None:
        self._messages = messages
        self._code = code
        self.is_to_end = threading.Event()
        self.is_to_end.set()
        self.state = _channel._RPCState((), None, None, None, None)

    def operate(self, _operations: Any, _handler: Any) -> bool:
        """Begin a read; the caller holds the condition."""
        if self._messages:
            self.state.response = self._messages.pop(0)
        elif self._code is not None:
            threading.Thread(target=self._terminate, daemon=True).start()
        return True

    def _terminate(self) -> None:
        """As gRPC does where a status arrives."""
        self.is_to_end.wait(GIVE_UP)
        state: Any = self.state
        with state.condition:
            self.state.code, self.state.details = self._code, "nobody"
            self.state.trailing_metadata = ()
            callbacks, state.callbacks = state.callbacks, None
            self.state.condition.notify_all()
        for callback in callbacks:
            callback()

    def cancel(self, *_: Any) -> None:
        """Leave the read open then, too."""


def unending(messages: list[Message], code: grpc.StatusCode | None) -> Any:
    """Return a call of gRPC's own over such a core."""
    core = _Core(messages, code)
    return _channel._MultiThreadedRendezvous(core.state, core, None, None)


class UnendingAio:
    """Stands in for such a call of asyncio."""

    def __init__(self, messages: list[Message], code: grpc.StatusCode | None) -> None:
        self._messages = messages
        self._code = code
        self._callbacks: list[Callable[[Any], None]] = []

    async def __aiter__(self) -> AsyncIterator[Message]:
        for message in self._messages:
            yield message
        if self._code is not None:
            for callback in self._callbacks:
                callback(self)
        await for_ever()

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self._callbacks.append(callback)

    def cancel(self) -> None:
        pass

    async def code(self) -> grpc.StatusCode | None:
        return self._code

    async def details(self) -> str:
        return "nobody"

    async def trailing_metadata(self) -> grpc.aio.Metadata:
        return grpc.aio.Metadata()


class FirstUnending:
    """A channel whose first call never ends its read; all others are those of a real one."""

    def __init__(self, channel: Any, first: Any) -> None:
        self._channel = channel
        self._first = first

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    def unary_stream(self, *args: Any, **options: Any) -> Any:
        real = self._channel.unary_stream(*args, **options)

        def begin(*args: Any, **options: Any) -> Any:
            first, self._first = self._first, None
            return first or real(*args, **options)

        return begin


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (next_messages, streams):
        monkeypatch.setattr(module, "_MOMENT", SOON)


@pytest.fixture
async def breaking() -> AsyncIterator[Breaking]:
    async with serving_breaking() as server:
        server.answers = {"WatchExecution": [[AT_WORK, OVER]], "RunExecution": [[STARTED, OVER]]}
        yield server


def plain(server: Breaking, messages: list[Message], code: grpc.StatusCode | None) -> Any:
    channel: Any = FirstUnending(grpc.insecure_channel(server.address), unending(messages, code))
    return zart.connect_sync(channel=channel)


def aio(server: Breaking, messages: list[Message], code: grpc.StatusCode | None) -> Any:
    first = UnendingAio(messages, code)
    channel: Any = FirstUnending(grpc.aio.insecure_channel(server.address), first)
    return zart.connect(channel=channel)


async def either(
    kind: str, server: Breaking, messages: list[Message], code: grpc.StatusCode | None, name: str,
    **options: Any,
) -> Any:  # fmt: skip
    """Call a client's ``run`` or a handle's ``result``, with asyncio or in a thread."""
    argument = "t" if name == "run" else "x"

    def asked(client: Any) -> Any:
        if name == "run":
            return client.run(argument, **options)
        return client.handle(argument).result(**options)

    if kind == "plain":
        with plain(server, messages, code) as client:
            return await asyncio.wait_for(asyncio.to_thread(asked, client), GIVE_UP)
    async with aio(server, messages, code) as client:
        return await asyncio.wait_for(asked(client), GIVE_UP)


@pytest.mark.parametrize("kind", ["plain", "asyncio"])
@pytest.mark.parametrize("timeout", [None, GIVE_UP])
async def test_a_watch_whose_read_never_ends_is_taken_up_again(
    breaking: Breaking, kind: str, timeout: float | None
) -> None:
    for code in (LOST, grpc.StatusCode.OK):  # what came with an OK may be lost, too
        found = await either(kind, breaking, [AT_WORK], code, "result", timeout=timeout)
        assert found == 7


@pytest.mark.parametrize("kind", ["plain", "asyncio"])
async def test_a_run_whose_read_never_ends_goes_on_as_a_watch(
    breaking: Breaking, kind: str
) -> None:
    assert await either(kind, breaking, [STARTED], LOST, "run", timeout=GIVE_UP) == 7


@pytest.mark.parametrize("kind", ["plain", "asyncio"])
@pytest.mark.parametrize("code", [LOST, None])
async def test_a_start_whose_read_never_ends_is_not_known_to_have_happened(
    breaking: Breaking, kind: str, code: grpc.StatusCode | None
) -> None:
    """``code`` None: gRPC does not even note that its time is up."""
    with pytest.raises(zart.Unreachable) as told:
        await either(kind, breaking, [], code, "run", timeout=SOON, request_id="mine")
    assert told.value.request_id == "mine"


@pytest.mark.parametrize("kind", ["plain", "asyncio"])
async def test_a_watch_ends_with_its_time_though_grpc_does_not(
    breaking: Breaking, kind: str
) -> None:
    with pytest.raises(TimeoutError):
        await either(kind, breaking, [AT_WORK], None, "result", timeout=SOON)


async def test_a_watch_of_asyncio_has_a_time_of_its_own(breaking: Breaking) -> None:
    async with aio(breaking, [AT_WORK], None) as client, asyncio.timeout(GIVE_UP):
        with pytest.raises(TimeoutError, match="was not over after"):
            async for _ in client.watch_execution("x", timeout=SOON):
                pass


async def test_what_was_asked_on_a_stream_of_a_dispatcher_ends_with_it() -> None:
    """And is asked again by a call at once, not after all the time that a lease may wait."""
    call = unending([], LOST)
    call._call.is_to_end.clear()
    loop = asyncio.get_running_loop()
    settled = loop.create_future()

    class Stub:
        DispatchTasks = staticmethod(lambda _requests: call)

    def settle(_response: Any, _in_hand: Any, error: BaseException | None) -> None:
        loop.call_soon_threadsafe(settled.set_result, error)

    with grpc.insecure_channel("127.0.0.1:1") as channel:
        opened = Stream(Stub(), set(), Pulse(9.0, in_threads=True), ThreadRoom(channel))
        opened.ask(pb.DispatchTasksRequest(lease=pb.LeaseTasksRequest()), Asked(0.0, settle))
        call._call.is_to_end.set()
        assert isinstance(await asyncio.wait_for(settled, GIVE_UP), StreamEnded)
    assert opened.failure is LOST
    assert not opened.takes_more


async def test_a_watch_over_http_has_a_last_line_that_says_why(breaking: Breaking) -> None:
    (binding,) = (b for b in bindings_of(all_services()) if b.rpc.name == "WatchExecution")
    first = UnendingAio([AT_WORK], LOST)
    async with grpc.aio.insecure_channel(breaking.address) as channel:
        calls = Calls(FirstUnending(channel, first), GIVE_UP)  # type: ignore[arg-type]
        request = execution_service_pb2.WatchExecutionRequest(execution_id="x")
        response: Any = await calls.answer(binding, request, ())
        async with asyncio.timeout(GIVE_UP):
            lines = [json.loads(line) async for line in response.body_iterator]
    assert "error" not in lines[0]
    (last,) = lines[1:]
    assert last["error"]["message"].startswith("the server cannot be reached")


async def test_messages_are_read_where_no_thread_can_be_started(breaking: Breaking) -> None:
    def read() -> list[Any]:
        with grpc.insecure_channel(breaking.address) as channel:
            begin: Any = channel.unary_stream("/zart.v1.ExecutionService/WatchExecution")
            call = begin(b"")
            with no_more_threads():
                messages = next_messages.SyncMessages(call)
            try:
                return list(messages)
            finally:
                messages.close()

    found = await asyncio.to_thread(read)
    assert found == [AT_WORK.SerializeToString(), OVER.SerializeToString()]
