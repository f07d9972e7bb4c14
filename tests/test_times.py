"""Times that promises rest on, as they are set: no test can wait to see each of them at work."""

from __future__ import annotations

import pytest
from google.protobuf.duration_pb2 import Duration

from zart.dispatcher.in_hand import in_hand_of
from zart.v1 import dispatch_service_pb2 as pb
from zart_server.store import liveness
from zart_server.store.db import Database
from zart_server.store.pausing import lock

FROZEN = 3.0  # seconds that others wait at most for a server, or a client, that does nothing
LOST = 5.0  # seconds after which a server is back whose connections were lost without a word


async def test_postgresql_soon_ends_a_transaction_whose_server_says_nothing(
    zart_database: str,
) -> None:
    database = await Database.open(zart_database)
    try:
        async with database.autocommit() as connection:
            milliseconds: int = await connection.fetchval(
                "SELECT setting::integer FROM pg_settings"
                " WHERE name = 'idle_in_transaction_session_timeout'"
            )
    finally:
        await database.close()

    assert 0 < milliseconds <= FROZEN * 1000  # 0 is for ever


def test_nobody_asks_for_the_pause_lock_for_long_at_a_time() -> None:
    """Meanwhile all wait that share it, and dispatch does."""
    assert 0 < lock._SHORTEST <= lock._LONGEST <= 1.0


def test_connections_that_are_lost_without_a_word_are_soon_known_to_be() -> None:
    """At the next look, which waits for an answer, and then for one over a new connection."""
    assert liveness._EVERY + liveness._SILENT + liveness._CONNECT <= LOST


@pytest.mark.parametrize("ttl", [1, 30, 3600])
def test_a_lease_is_to_be_extended_once_a_third_of_it_has_passed(ttl: int) -> None:
    (in_hand,) = in_hand_of([pb.LeasedTask(lease_ttl=Duration(seconds=ttl))], asked_at=100.0)
    assert in_hand.expires_at == 100.0 + ttl
    assert 0 < in_hand.extend_at - 100.0 <= ttl / 3 + 1e-9

    in_hand.extended(ttl=2.0 * ttl, asked_at=500.0)
    assert in_hand.expires_at == 500.0 + 2 * ttl
    assert 0 < in_hand.extend_at - 500.0 <= 2 * ttl / 3 + 1e-9
