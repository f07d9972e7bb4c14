"""What gRPC is told of connections and messages before a server begins."""

from __future__ import annotations

from zart_server.settings import Settings

_MESSAGE_BYTES = 16 * 1024 * 1024
_OPTIONS: list[tuple[str, int]] = [
    ("grpc.max_receive_message_length", _MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MESSAGE_BYTES),
    ("grpc.max_metadata_size", 16 * 1024),
    ("grpc.server_handshake_timeout_ms", 10_000),
    # Clients may ping every 2 s, also without a call, to notice a dead server.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 1000),
    ("grpc.http2.max_ping_strikes", 0),
    # Else the window of a stream grows to megabytes, which anybody fills with what nobody reads
    # yet. Of a message that is read it is as large as that: large requests are no slower for it.
    ("grpc.http2.bdp_probe", 0),
]
_IDLE = 300.0  # seconds without a call, whose callers connect anew by themselves
# Calls that came at one moment and were not looked at yet. gRPC cancels some by itself beyond the
# first of these, and all beyond the second, 1,000 and 3,000 unless told otherwise: nobody logs it,
# and callers do not repeat it. ``api.limits`` refuses what is too much, as UNAVAILABLE.
_PENDING = ("grpc.server.max_pending_requests", "grpc.server.max_pending_requests_hard_limit")
_MORE_PENDING = 10  # times what a server takes, which is a few hundred bytes for each call


def options_of(settings: Settings, *, shares_port: bool) -> list[tuple[str, int]]:
    """Return the options of a server. ``shares_port``: with other processes that do, too."""
    pending = _MORE_PENDING * (settings.max_calls + settings.max_waiting_calls)
    return [
        *_OPTIONS,
        # A caller looks up the servers' addresses anew only where a connection ends.
        ("grpc.max_connection_age_ms", max(1, round(settings.connection_age * 1000))),
        ("grpc.max_connection_idle_ms", round(_IDLE * 1000)),
        ("grpc.so_reuseport", int(shares_port)),  # else a second one on the port is told so
        *((name, pending) for name in _PENDING),
    ]
