"""A host of keys that never ends its answer, or has no end of it, holds up nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from issuing import Issuer, TokenFile
from waiting import GIVE_UP, until

from zart_server.identity.authenticator import Authenticator
from zart_server.identity.key_set import KeySet
from zart_server.identity.static_tokens import StaticTokens

HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"


@asynccontextmanager
async def host(begin: Callable[[asyncio.StreamWriter], None]) -> AsyncIterator[KeySet]:
    """Keys of a host that answers so."""
    writers: list[asyncio.StreamWriter] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writers.append(writer)
        begin(writer)

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield KeySet(f"http://127.0.0.1:{port}/keys")
    finally:
        server.close()
        for writer in writers:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        await until(lambda: all(thread.name != "jwks" for thread in threading.enumerate()))


@pytest.mark.parametrize("said", [b"", HEAD, HEAD + b"{"])
async def test_files_are_followed_while_a_host_does_not_answer(
    tmp_path: Path, said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_FETCH_TIMEOUT", "_FETCH_WITHIN"):  # it hangs until the host is gone
        monkeypatch.setattr(f"zart_server.identity.key_set.{name}", GIVE_UP)
    tokens = TokenFile(tmp_path / "tokens")
    tokens.add("viewer", "viewer")
    known = StaticTokens(tokens.path)
    asked = asyncio.Event()

    def hang(writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        asked.set()

    async with host(hang) as keys:
        following = asyncio.create_task(Authenticator(known, keys, None, None).keep_fresh())
        async with asyncio.timeout(GIVE_UP):
            await asked.wait()
        tokens.remove("viewer")
        await until(lambda: not known._known)
        assert keys._fetching is not None  # it has not given up: that is not why
        following.cancel()


async def test_a_fetch_has_an_end_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zart_server.identity.key_set._FETCH_WITHIN", 0.1)
    async with host(lambda writer: writer.write(HEAD)) as keys:
        await keys.refresh()
        await until(lambda: keys._fetching is None)


async def test_an_answer_has_a_bound(caplog: pytest.LogCaptureFixture) -> None:
    document = json.dumps(Issuer("k1").jwks).encode()
    for size, is_taken in ((1000, True), (1024 * 1024, False)):

        def whole(writer: asyncio.StreamWriter, size: int = size) -> None:
            writer.write(HEAD + document + b" " * size)
            writer.close()

        async with host(whole) as keys:
            await keys.refresh()
            await until(lambda: keys._fetching is None)
            assert bool(keys._keys) is is_taken
    assert "ValueError" in caplog.text
