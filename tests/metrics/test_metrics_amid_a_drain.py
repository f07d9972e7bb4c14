"""A server that stops tells its metrics until its calls have ended: a long drain is no failure."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import asyncpg
import pytest
from metrics.scraping import scraped
from rig import CHAIN, Rig
from waiting import GIVE_UP, until

import zart
from zart.testing.server import serving


def takes_connections(address: str) -> bool:
    """Return whether somebody listens there."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port))).close()
    except OSError:
        return False
    return True


async def test_a_server_tells_them_until_its_calls_have_ended(
    zart_database: str, db: asyncpg.Connection[asyncpg.Record]
) -> None:
    with contextlib.ExitStack() as stack:
        settings = {"metrics_listen": "127.0.0.1:0", "drain_grace": GIVE_UP}
        server = stack.enter_context(serving(zart_database, **settings))
        async with zart.connect(server.address) as client:
            rig = Rig(client, db)
            await rig.start("x", CHAIN)
            async with rig.locked("SELECT FROM zart.executions FOR NO KEY UPDATE"):
                restarting = asyncio.create_task(client.restart("x"))
                await rig.until_waiting()
                stopping = asyncio.create_task(asyncio.to_thread(stack.close))
                await until(lambda: not takes_connections(server.address))
                found = await scraped(server.running.metrics)
                assert found("zart_calls_in_progress", kind="call") == 1
                assert found("zart_build_info", component="server") == 1
            assert (await restarting).new_run_number == 1
            await stopping
    with pytest.raises(OSError, match="refused"):
        await scraped(server.running.metrics)
