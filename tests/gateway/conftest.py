"""Gateways in front of the servers of tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import grpc.aio
import pytest
from gateway.scripted import Scripted
from gateway.sending import Http, gateway_to

from zart.testing.fixtures import database_url, execute
from zart.testing.server import ServerUnderTest, serving


@pytest.fixture(scope="module")
def shared_http(zart_postgres: str) -> Iterator[Http]:
    """A gateway to a server that tests share which change nothing."""
    url, other = (database_url(zart_postgres, name) for name in ("shared", "zart"))
    execute(other, "CREATE DATABASE shared TEMPLATE template STRATEGY wal_log")
    with serving(url) as server, gateway_to(server.address) as sender:
        yield sender
    execute(other, "DROP DATABASE shared WITH (FORCE)")


@pytest.fixture
def http_(zart_server: ServerUnderTest) -> Iterator[Http]:
    """A gateway to the server."""
    with gateway_to(zart_server.address) as sender:
        yield sender


@pytest.fixture
async def scripted() -> AsyncIterator[Scripted]:
    """A scripted server."""
    found = Scripted()
    server = grpc.aio.server(options=[("grpc.max_metadata_size", 16 * 1024)])  # as the real one
    server.add_generic_rpc_handlers([found])  # type: ignore[list-item]
    found.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    yield found
    await server.stop(0)


@pytest.fixture
def http_scripted(scripted: Scripted) -> Iterator[Http]:
    """A gateway to it."""
    with gateway_to(scripted.address, max_calls=2) as sender:
        yield sender
