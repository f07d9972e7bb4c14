"""Channels to the server: they notice a dead one, spread over several, and repeat what is safe."""

from __future__ import annotations

import json
import os
from typing import Any

import grpc
import grpc.aio

from zart.credentials import Credentials
from zart.renewing import RenewingAioChannel, RenewingChannel

DEFAULT_ADDRESS = "127.0.0.1:50051"
_MESSAGE_BYTES = 16 * 1024 * 1024
_PING_EVERY_MS = 3_000
_PING_TIMEOUT_MS = 3_000

_NEVER_REPEATED = [
    # A lease whose response was lost is nobody's until it expires: better one than five of them.
    {"service": "zart.v1.DispatchService", "method": "LeaseTasks"},
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
OPTIONS: list[tuple[str, Any]] = [
    ("grpc.max_receive_message_length", _MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MESSAGE_BYTES),
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    # A server that is frozen or cut off is noticed within the sum of the two; gRPC's own default
    # for the second is a minute.
    ("grpc.keepalive_time_ms", _PING_EVERY_MS),
    ("grpc.keepalive_timeout_ms", _PING_TIMEOUT_MS),
    ("grpc.http2.ping_timeout_ms", _PING_TIMEOUT_MS),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.initial_reconnect_backoff_ms", 100),
    # Shorter than the repeats of a call take: one of them finds the server that is back.
    ("grpc.max_reconnect_backoff_ms", 800),
]


def address_of(address: str | None) -> str:
    """Give the server's address: the one given, ``ZART_ADDRESS``, or the default."""
    return address or os.environ.get("ZART_ADDRESS") or DEFAULT_ADDRESS


def aio_channel(
    address: str | None = None, credentials: Credentials | None = None
) -> grpc.aio.Channel:
    """Open a channel for asyncio; it connects with the first call.

    ``credentials`` None: those of the environment. Raises ValueError where they cannot be used.
    """
    target, shown = _checked(address, credentials)

    def make(tls: grpc.ChannelCredentials | None) -> grpc.aio.Channel:
        if tls is None:
            return grpc.aio.insecure_channel(target, options=OPTIONS)
        return grpc.aio.secure_channel(target, tls, options=OPTIONS)

    return make(None) if shown.is_empty else RenewingAioChannel(make, shown)


def sync_channel(
    address: str | None = None, credentials: Credentials | None = None
) -> grpc.Channel:
    """Open a channel for plain code; as ``aio_channel``."""
    target, shown = _checked(address, credentials)

    def make(tls: grpc.ChannelCredentials | None) -> grpc.Channel:
        if tls is None:
            return grpc.insecure_channel(target, options=OPTIONS)
        return grpc.secure_channel(target, tls, options=OPTIONS)

    return make(None) if shown.is_empty else RenewingChannel(make, shown)


def _checked(address: str | None, credentials: Credentials | None) -> tuple[str, Credentials]:
    target = address_of(address)
    shown = Credentials.from_environment() if credentials is None else credentials
    shown.check_address(target)
    return target, shown
