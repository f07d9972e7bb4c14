"""Who may come is followed as long as calls do: also by a server that drains."""

from __future__ import annotations

import signal
from pathlib import Path

from acceptance.serve_process import serve_processes
from issuing import TokenFile
from rig import eventually
from server.health import NOT_SERVING, health

import zart
from zart import errors


async def test_a_token_that_is_removed_while_a_server_drains_is_refused(
    zart_database: str, tmp_path: Path
) -> None:
    """It was known for as long as the drain lasted, which calls may stretch to five notices."""
    tokens = TokenFile(tmp_path / "tokens")
    tokens.add("leaver", "viewer")
    settings = {"ZART_AUTH_TOKENS": str(tokens.path), "ZART_DRAIN_NOTICE": "10"}
    credentials = zart.Credentials(token="zart_token-of-leaver")
    with serve_processes(1, zart_database, tmp_path, **settings) as (server,):
        async with zart.connect(server.address, credentials=credentials) as client:
            assert await client.list_executions() == []
            assert server._process is not None
            server._process.send_signal(signal.SIGTERM)

            async def is_leaving() -> bool:
                return bool(await health(client, "zart.v1.AdminService") == NOT_SERVING)

            await eventually(is_leaving)
            assert await client.list_executions() == []
            tokens.remove("leaver")

            async def is_refused() -> bool:
                try:
                    await client.list_executions()
                except errors.InvalidCredentials:
                    return True
                return False

            await eventually(is_refused)
