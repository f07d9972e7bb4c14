"""Channels that follow their credentials: a token with each call, TLS files as they are now.

gRPC's own way to add a token needs TLS, and its interceptors cost a third of a call's time; here
the token is one entry of the call's metadata. A channel's certificates are fixed when it is made,
so a changed file means a new channel; calls under way end on the old one, however often the files
change meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Generic, Self, TypeVar
from weakref import WeakSet

import grpc
import grpc.aio

from zart.closing import begin_to_close, close_channel
from zart.credentials import Credentials

_LOOK_EVERY = 1.0  # seconds between two looks at the files
_KEPT = 120.0  # seconds: longer than any call may take, watches excepted
_WATCHED = 86_400.0
_CUT = 1.0  # in which calls that are cut have ended
_HEADER = "authorization"

C = TypeVar("C")


class _Renewed(Generic[C]):
    """The channel of now, and those before it, on which calls may still be under way."""

    def __init__(
        self,
        make: Callable[[grpc.ChannelCredentials | None], C],
        drop: Callable[[C], None],
        credentials: Credentials,
    ) -> None:
        self._make = make
        self._drop = drop
        self._looking = threading.Lock()
        self._credentials = credentials
        self._tls_stamp = credentials.tls_stamp()
        self._token_stamp = credentials.token_stamp()
        self._look_at = time.monotonic() + _LOOK_EVERY
        self._metadata = self._read_metadata()
        tls = credentials.to_grpc()
        if tls is not None and credentials.is_of_files:
            credentials.check_tls()
        self.channel = make(tls)
        self.before: list[tuple[float, C]] = []  # and since when they are not used

    def look(self) -> None:
        """Follow the files, at most once a second; what cannot be used is as it was."""
        if time.monotonic() < self._look_at or not self._looking.acquire(blocking=False):
            return
        try:
            self._look()
        finally:
            self._looking.release()

    @contextlib.contextmanager
    def held(self) -> Iterator[C]:
        """Look, and return the channel of now, which calls within the context go out on."""
        with self._looking:  # so that nobody else looks
            if time.monotonic() >= self._look_at:
                self._look()
            yield self.channel

    def _look(self) -> None:
        self._look_at = time.monotonic() + _LOOK_EVERY
        with contextlib.suppress(ValueError):  # half of it may be there: looked at again
            self._follow()

    def _follow(self) -> None:
        stamp = self._credentials.token_stamp()
        if stamp != self._token_stamp:
            self._metadata = self._read_metadata()
            self._token_stamp = stamp
        stamp = self._credentials.tls_stamp()
        if stamp != self._tls_stamp:
            self._credentials.check_tls()
            tls = self._credentials.to_grpc()
            if self._credentials.tls_stamp() != stamp:
                raise ValueError("the files of TLS are being replaced")
            renewed = self._make(tls)
            self._tls_stamp = stamp
            now = time.monotonic()
            former = self.before
            kept = [each for each in former if now - each[0] < _KEPT]
            self.before, self.channel = [*kept, (now, self.channel)], renewed
            for since, channel in former:
                if now - since >= _KEPT:
                    self._drop(channel)

    def every(self) -> list[C]:
        """Return all channels."""
        return [*(channel for _, channel in self.before), self.channel]

    def metadata(self, given: Any) -> Any:  # noqa: ANN401 - as gRPC takes it
        """Return a call's metadata with the token, unless the call brings one of its own."""
        if not self._metadata:
            return given
        if given is None:
            return self._metadata
        pairs = tuple(given)
        return pairs if any(key == _HEADER for key, _ in pairs) else (*pairs, *self._metadata)

    def _read_metadata(self) -> tuple[tuple[str, str], ...]:
        if not self._credentials.has_token:
            return ()
        return ((_HEADER, f"Bearer {self._credentials.read_token()}"),)


class _Method(Generic[C]):
    """One method: each call goes out on the channel of now."""

    def __init__(self, renewed: _Renewed[C], kind: str, args: Any, kwargs: Any) -> None:  # noqa: ANN401 - gRPC's
        self._renewed = renewed
        self._bind: Callable[[Any], Any] = lambda channel: getattr(channel, kind)(*args, **kwargs)
        self._channel = renewed.channel
        self._call = self._bind(self._channel)

    def __call__(
        self,
        request: Any = None,  # noqa: ANN401 - of a stream: an iterator, or none
        *args: Any,  # noqa: ANN401 - gRPC's
        metadata: Any = None,  # noqa: ANN401 - gRPC's
        **options: Any,  # noqa: ANN401 - gRPC's
    ) -> Any:  # noqa: ANN401 - gRPC's
        return self._now()(request, *args, metadata=self._renewed.metadata(metadata), **options)

    def with_call(self, request: Any, *args: Any, metadata: Any = None, **options: Any) -> Any:  # noqa: ANN401 - gRPC's
        """Call, and return the answer with the call, as plain channels do."""
        renewed = self._renewed
        return self._now().with_call(request, *args, metadata=renewed.metadata(metadata), **options)

    def future(self, request: Any, *args: Any, metadata: Any = None, **options: Any) -> Any:  # noqa: ANN401 - gRPC's
        """Call without waiting: of plain channels."""
        renewed = self._renewed
        return self._now().future(request, *args, metadata=renewed.metadata(metadata), **options)

    def _now(self) -> Any:  # noqa: ANN401 - gRPC's callable of this kind
        self._renewed.look()
        if self._channel is not self._renewed.channel:
            self._channel = self._renewed.channel
            self._call = self._bind(self._channel)
        return self._call


def _maker(kind: str) -> Callable[..., Any]:
    def make(self: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as gRPC's
        return _Method(self.renewed, kind, args, kwargs)

    make.__name__ = kind
    make.__doc__ = f"Give a {kind.replace('_', '-')} method, as gRPC's channels do."
    return make


class _Streams(_Method[grpc.aio.Channel]):
    """A method whose calls may outlast their channel; all of them are in ``calls``."""

    calls: WeakSet[grpc.aio.Call]

    def __call__(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - as gRPC's
        call = super().__call__(*args, **options)
        self.calls.add(call)
        return call


class RenewingAioChannel(grpc.aio.Channel):
    """A channel for asyncio that follows its credentials."""

    def __init__(
        self,
        make: Callable[[grpc.ChannelCredentials | None], grpc.aio.Channel],
        credentials: Credentials,
    ) -> None:
        self._closing: set[asyncio.Task[None]] = set()
        self._streams: WeakSet[grpc.aio.Call] = WeakSet()
        self.renewed = _Renewed(make, self._drop, credentials)

    unary_unary = _maker("unary_unary")
    stream_unary = _maker("stream_unary")
    stream_stream = _maker("stream_stream")

    def unary_stream(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as gRPC's
        """Give a unary-stream method, as gRPC's channels do."""
        streams = _Streams(self.renewed, "unary_stream", args, kwargs)
        streams.calls = self._streams
        return streams

    def _drop(self, channel: grpc.aio.Channel) -> None:
        # Only watches may go on for so long: they end, or are cut with the last of the channels.
        closing = asyncio.get_running_loop().create_task(channel.close(_WATCHED))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self, grace: float | None = None) -> None:
        """Close it, and the ones before it."""
        last = [channel.close(grace) for channel in self.renewed.every()]
        closing = [asyncio.wait(self._closing, timeout=grace or 0)] if self._closing else []
        await asyncio.gather(*last, *closing)
        # gRPC closes no channel twice: what closes already ends with the last of its calls.
        for call in list(self._streams):
            call.cancel()
        if self._closing:
            await asyncio.wait(self._closing, timeout=_CUT)
        for left in self._closing:
            left.cancel()

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:  # noqa: FBT001, FBT002 - gRPC's
        """Tell how the channel of now stands."""
        state: grpc.ChannelConnectivity = self.renewed.channel.get_state(try_to_connect)
        return state

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Wait until the channel of now stands otherwise."""
        await self.renewed.channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Wait until the channel of now is connected."""
        await self.renewed.channel.channel_ready()


class RenewingChannel(grpc.Channel):
    """A channel for plain code that follows its credentials."""

    def __init__(
        self,
        make: Callable[[grpc.ChannelCredentials | None], grpc.Channel],
        credentials: Credentials,
    ) -> None:
        self.renewed = _Renewed(make, begin_to_close, credentials)

    unary_unary = _maker("unary_unary")
    unary_stream = _maker("unary_stream")
    stream_unary = _maker("stream_unary")
    stream_stream = _maker("stream_stream")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close it, and the ones before it."""
        for channel in self.renewed.every():
            close_channel(channel)

    def subscribe(
        self,
        callback: Callable[[grpc.ChannelConnectivity], None],
        try_to_connect: bool | None = False,  # noqa: FBT001, FBT002 - gRPC's
    ) -> None:
        """Tell how the channel of now stands, again and again."""
        self.renewed.channel.subscribe(callback, bool(try_to_connect))

    def unsubscribe(self, callback: Callable[[grpc.ChannelConnectivity], None]) -> None:
        """Tell it no longer."""
        self.renewed.channel.unsubscribe(callback)
