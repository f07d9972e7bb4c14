"""A server that asks who calls, and callers of each role."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from issuing import Connect, TokenFile

import zart
from zart.testing.server import ServerUnderTest, serving
from zart_server.domain.identity import Role


@pytest.fixture
def tokens(tmp_path: Path) -> TokenFile:
    """A file of static tokens with one of each role, named after it, and one without any."""
    made = TokenFile(tmp_path / "tokens")
    for role in Role:
        made.add(role, role)
    made.add("nobody")
    return made


@pytest.fixture
def guarded(zart_database: str, tokens: TokenFile) -> Iterator[ServerUnderTest]:
    """A server that asks who calls."""
    with serving(zart_database, auth_tokens=tokens.path) as server:
        yield server


@pytest.fixture
async def connect(guarded: ServerUnderTest) -> AsyncIterator[Connect]:
    """Give a client that shows the static token of this name (empty: none)."""
    async with AsyncExitStack() as stack:
        opened: list[zart.Client] = []

        def opener(name: str) -> zart.Client:
            credentials = zart.Credentials(token=f"zart_token-of-{name}" if name else "")
            opened.append(zart.connect(guarded.address, credentials=credentials))
            return opened[-1]

        yield opener
        for client in opened:
            await stack.enter_async_context(client)
