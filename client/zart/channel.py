"""Channels to the server: they notice a dead one, spread over several, and repeat what is safe.

A server that is frozen or cut off is noticed by pings, while a call is open: every three seconds,
and one is answered in three. Over a narrow way its answer waits behind what was sent before: more
than three seconds are for both, so that there ``ZART_KEEPALIVE=30`` is right. No call open, no
pings: gRPC's default policy, of proxies above all, ends connections for those. It also does for
more than three pings in a row to which nothing but their answers comes back: calls that wait for
longer than that, watches, are cut there, and taken up again. ``ZART_KEEPALIVE`` or ``keepalive``
says otherwise, in seconds; 0: no pings at all. A server of this machine is reached without a proxy.
"""

from __future__ import annotations

import json
import math
import os
from typing import Any

import grpc
import grpc.aio

from zart.credentials import Credentials, is_local
from zart.renewing import RenewingAioChannel, RenewingChannel

DEFAULT_ADDRESS = "127.0.0.1:50051"
_MESSAGE_BYTES = 16 * 1024 * 1024
_HEADER_BYTES = 64 * 1024  # of a call, beside its message: more than any has
_KEEPALIVE = 3.0  # seconds
_LONGEST_KEEPALIVE = 86_400.0
_PING_TIMEOUT_MS = 3_000
_CONNECTING_MS = 5_000

_NEVER_REPEATED = [
    # A lease whose response was lost is nobody's until it expires: better one than five of them.
    {"service": "zart.v1.DispatchService", "method": "LeaseTasks"},
    {"service": "zart.v1.DispatchService", "method": "DispatchTasks"},
]
_SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {"name": _NEVER_REPEATED},
        {
            # Every other call is a read, idempotent, or has a request_id. A watch that broke after
            # its first message is left to its reader, who knows what it has seen.
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 5,
                "initialBackoff": "0.1s",
                "maxBackoff": "2s",
                "backoffMultiplier": 2,
                # CANCELLED is what a call is told that reached a server in the moment of its stop,
                # and was taken by nobody; one that its caller cancels is not repeated.
                "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
            },
        },
    ],
}
_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.max_receive_message_length", _MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MESSAGE_BYTES),
    # What a call sends is kept for its repeats. One of more than this, which by default is 256 KiB,
    # would never be repeated.
    ("grpc.per_rpc_retry_buffer_size", _MESSAGE_BYTES + _HEADER_BYTES),
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    # How long one attempt to connect may take: over a slow way TLS has four times its delay. What
    # is refused is tried again by the backoff, which this is not.
    ("grpc.min_reconnect_backoff_ms", _CONNECTING_MS),
    ("grpc.initial_reconnect_backoff_ms", 100),
    # Shorter than the repeats of a call take: one of them finds the server that is back.
    ("grpc.max_reconnect_backoff_ms", 800),
    # Nor is a name that was looked up just now left for half a minute: servers that were begun anew
    # may have other addresses.
    ("grpc.dns_min_time_between_resolutions_ms", 1000),
]


def keepalive_of(keepalive: float | None) -> float:
    """Return the seconds between pings: those given, ``ZART_KEEPALIVE``, or the default.

    Raises ValueError where they are none.
    """
    if keepalive is None:
        text = os.environ.get("ZART_KEEPALIVE") or str(_KEEPALIVE)
        try:
            keepalive = float(text)
        except ValueError:
            keepalive = math.nan
    if not 0 <= keepalive <= _LONGEST_KEEPALIVE:
        raise ValueError("ZART_KEEPALIVE: seconds between pings, 0 for none, at most a day")
    return keepalive


def options(keepalive: float) -> list[tuple[str, Any]]:
    """Return the options of a channel with so many seconds between pings."""
    if not keepalive:
        return _OPTIONS
    apart = max(1, round(keepalive * 1000))
    answered = max(_PING_TIMEOUT_MS, apart)
    return [
        *_OPTIONS,
        ("grpc.keepalive_time_ms", apart),
        ("grpc.keepalive_timeout_ms", answered),
        # gRPC's own default is a minute, and this one counts. An answer waits behind whatever is on
        # its way already: over a narrow one pings are to be seldom, and may take as long.
        ("grpc.http2.ping_timeout_ms", answered),
        ("grpc.keepalive_permit_without_calls", 0),
        ("grpc.http2.max_pings_without_data", 0),
    ]


def address_of(address: str | None) -> str:
    """Return the server's address: the one given, ``ZART_ADDRESS``, or the default."""
    return address or os.environ.get("ZART_ADDRESS") or DEFAULT_ADDRESS


def aio_channel(
    address: str | None = None,
    credentials: Credentials | None = None,
    keepalive: float | None = None,
) -> grpc.aio.Channel:
    """Open a channel for asyncio; it connects with the first call.

    ``credentials`` and ``keepalive`` None: those of the environment. Raises ValueError where they
    cannot be used.
    """
    target, shown = _checked(address, credentials)
    chosen = [*options(keepalive_of(keepalive)), *_without_proxy(target)]

    def make(tls: grpc.ChannelCredentials | None) -> grpc.aio.Channel:
        if tls is None:
            return grpc.aio.insecure_channel(target, options=chosen)
        return grpc.aio.secure_channel(target, tls, options=chosen)

    return make(None) if shown.is_empty else RenewingAioChannel(make, shown)


def sync_channel(
    address: str | None = None,
    credentials: Credentials | None = None,
    keepalive: float | None = None,
) -> grpc.Channel:
    """Open a channel for plain code; as ``aio_channel``."""
    target, shown = _checked(address, credentials)
    chosen = [*options(keepalive_of(keepalive)), *_without_proxy(target)]

    def make(tls: grpc.ChannelCredentials | None) -> grpc.Channel:
        if tls is None:
            return grpc.insecure_channel(target, options=chosen)
        return grpc.secure_channel(target, tls, options=chosen)

    return make(None) if shown.is_empty else RenewingChannel(make, shown)


def _without_proxy(target: str) -> list[tuple[str, Any]]:
    """Return the option that has gRPC leave out ``https_proxy`` and its like, for this machine."""
    return [("grpc.enable_http_proxy", 0)] if is_local(target) else []


def _checked(address: str | None, credentials: Credentials | None) -> tuple[str, Credentials]:
    target = address_of(address)
    shown = Credentials.from_environment() if credentials is None else credentials
    shown.check_address(target)
    return target, shown
