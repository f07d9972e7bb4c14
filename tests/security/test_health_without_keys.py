"""A server that never had the keys of JWTs serves nobody, and its health says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from issuing import Issuer, TokenFile
from metrics.scraping import scraped
from rig import eventually
from security.providing import Provider
from security.trusting import is_known, trusting
from server.health import NOT_SERVING, SERVING, health, watched_health

import zart
from zart import errors
from zart.cli.main import main
from zart.testing.server import ServerUnderTest
from zart_server.api.services import SERVICES


async def services_of(server: ServerUnderTest) -> set[int]:
    """Return the health of all services."""
    async with zart.connect(server.address) as client:
        return {await health(client, service) for service in SERVICES}


async def whole(server: ServerUnderTest) -> int:
    """Return the health of the process."""
    async with zart.connect(server.address) as client:
        found: int = await health(client, "")
        return found


async def test_services_serve_once_the_keys_were_there_and_from_then_on(
    zart_database: str,
    provider: Provider,
    issuer: Issuer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    document, provider.document = provider.document, None
    with trusting(zart_database, provider.url, metrics_listen="127.0.0.1:0") as server:

        async def was_asked() -> bool:
            return provider.asked > 1

        await eventually(was_asked)
        assert await services_of(server) == {NOT_SERVING}
        assert await whole(server) == SERVING  # a restart would bring none
        assert "health is NOT_SERVING until there are some" in caplog.text
        refused = {"code": "UNAVAILABLE", "reason": "KEYS_UNAVAILABLE"}
        before = (await scraped(server.running.metrics))("zart_calls_total", **refused)
        with pytest.raises(errors.KeysUnavailable):
            await is_known(server, issuer.sign("alice", "viewer"))
        found = await scraped(server.running.metrics)
        assert found("zart_calls_total", **refused) > before  # which ZartCallsFail asks for
        assert found("zart_credentials_missing", what="keys") == 1

        provider.document = document

        async def serve() -> bool:
            return await services_of(server) == {SERVING}

        await eventually(serve)
        assert await is_known(server, issuer.sign("alice", "viewer"))
        assert (await scraped(server.running.metrics))("zart_credentials_missing", what="keys") == 0

        # It knows them for good: who was refused would be so by all servers at once.
        provider.document, asked = None, provider.asked
        monkeypatch.setattr("zart_server.identity.key_set._REFRESH_EVERY", 0.0)

        async def was_asked_again() -> bool:
            return provider.asked > asked + 1

        await eventually(was_asked_again)
        assert await services_of(server) == {SERVING}
        assert await is_known(server, issuer.sign("bob", "viewer"))


async def test_a_static_token_is_answered_meanwhile(
    zart_database: str, provider: Provider, tmp_path: Path
) -> None:
    """Health alone is another: most callers may have JWTs."""
    tokens = TokenFile(tmp_path / "tokens")
    token, provider.document = tokens.add("viewer", "viewer"), None
    with trusting(zart_database, provider.url, auth_tokens=tokens.path) as server:
        assert await is_known(server, token)
        assert await services_of(server) == {NOT_SERVING}


async def test_who_watches_is_told_when_they_come(
    zart_database: str, provider: Provider, tmp_path: Path
) -> None:
    tokens = TokenFile(tmp_path / "tokens")
    credentials = zart.Credentials(token=tokens.add("balancer", "viewer"))
    document, provider.document = provider.document, None
    with trusting(zart_database, provider.url, auth_tokens=tokens.path) as server:
        async with zart.connect(server.address, credentials=credentials) as client:
            watch = watched_health(client, SERVICES[0])
            assert (await watch.read()).status == NOT_SERVING
            provider.document = document
            assert (await watch.read()).status == SERVING
            watch.cancel()


def test_a_probe_says_it_and_finds_the_process_up(
    zart_database: str, provider: Provider, capsys: pytest.CaptureFixture[str]
) -> None:
    provider.document = None
    with trusting(zart_database, provider.url) as server:
        assert main(["health", "server", "--live", "--address", server.address]) == 0
        assert main(["health", "server", "--address", server.address]) == 1
    assert "is NOT_SERVING" in capsys.readouterr().err


async def test_keys_of_a_file_are_there_from_the_start(
    trusting_server: ServerUnderTest,
) -> None:
    assert await services_of(trusting_server) == {SERVING}
