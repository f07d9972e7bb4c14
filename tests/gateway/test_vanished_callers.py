"""Callers that are gone without a word, as where their machine lost power."""

from __future__ import annotations

import socket

import pytest

from zart.gateway.listener import open_listener


@pytest.mark.skipif(not hasattr(socket, "TCP_KEEPIDLE"), reason="this platform has other options")
def test_a_quiet_connection_is_probed_and_given_up_after_a_minute() -> None:
    with (
        open_listener("127.0.0.1:0") as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        idle, between, probes, unacknowledged = (
            accepted.getsockopt(socket.IPPROTO_TCP, option)
            for option in (
                socket.TCP_KEEPIDLE,
                socket.TCP_KEEPINTVL,
                socket.TCP_KEEPCNT,
                socket.TCP_USER_TIMEOUT,
            )
        )
    assert idle + between * probes <= 60
    assert 0 < unacknowledged <= 60_000
