"""A server that trusts one issuer of JWTs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from issuing import AUDIENCE, ISSUER

import zart
from zart import errors
from zart.testing.server import ServerUnderTest, serving


@contextmanager
def trusting(database: str, jwks: str, **more: Any) -> Iterator[ServerUnderTest]:
    with serving(
        database, auth_jwks=jwks, auth_issuer=ISSUER, auth_audience=AUDIENCE, **more
    ) as server:
        yield server


async def is_known(server: ServerUnderTest, token: str) -> bool:
    """Whether a token lets its bearer in."""
    credentials = zart.Credentials(token=token)
    async with zart.connect(server.address, credentials=credentials) as client:
        try:
            await zart.Client(client.channel, repeats=False).list_executions()
        except errors.InvalidCredentials:
            return False
    return True
