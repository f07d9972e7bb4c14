"""A server that speaks TLS, and the credentials to call it with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from authority import Authority

import zart
from zart import errors
from zart.testing.server import ServerUnderTest, serving


@contextmanager
def encrypted(database: str, authority: Authority, **more: Any) -> Iterator[ServerUnderTest]:
    folder = authority.folder
    with serving(
        database, tls_cert=folder / "server.pem", tls_key=folder / "server.key", **more
    ) as server:
        yield server


def show(authority: Authority, name: str = "", **more: Any) -> zart.Credentials:
    """Trust an authority, and show the certificate of this name."""
    if name:
        more["certificate"] = authority.folder / f"{name}.pem"
        more["key"] = authority.folder / f"{name}.key"
    return zart.Credentials(ca=authority.ca, **more)


async def works(server: ServerUnderTest, credentials: zart.Credentials, timeout: float = 2) -> bool:
    """Whether a call goes through in so many seconds."""
    async with zart.connect(server.address, credentials=credentials, timeout=timeout) as client:
        try:
            await client.list_executions()
        except errors.Unreachable:
            return False
    return True
