"""What metrics tell of certificates, tokens and keys: when they end, and what could not be read."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from authority import Authority
from cryptography import x509
from gateway.sending import gateway_to
from issuing import AUDIENCE, ISSUER, Issuer, TokenFile
from metrics.scraping import Scrape, scraped
from metrics.series import told, written
from ports import free_port
from rig import eventually
from security.encrypted import encrypted
from security.providing import Provider
from security.trusting import trusting

from zart.testing.server import serving
from zart.validity import ends_at

END = "zart_certificate_not_after_seconds"
STALE = "zart_credentials_stale"
MISSING = "zart_credentials_missing"


def ends(chain: Path) -> float:
    """Return when a certificate ends, as another library reads it."""
    return x509.load_pem_x509_certificate(chain.read_bytes()).not_valid_after_utc.timestamp()


async def tells(address: str | None, holds: Callable[[Scrape], bool]) -> None:
    """Wait until a process tells so."""

    async def is_so() -> bool:
        return holds(await scraped(address))

    await eventually(is_so)


def stale(scrape: Scrape) -> dict[str, float]:
    """Return what a process tells of each thing that it follows."""
    return {labels["what"]: value for labels, value in scrape.of(STALE)}


def credentials_in(scrape: Scrape) -> dict[str, tuple[str, frozenset[str]]]:
    """Return type and labels of each family of these that a process tells of."""
    types = {name: kind for name, kind in scrape.types.items() if name in (END, STALE, MISSING)}
    return told(Scrape(types, scrape.values))


@dataclass
class Files:
    """The files that a server follows, whole."""

    tokens: Path
    names: Path
    keys: Path

    def settings(self) -> dict[str, object]:
        """Return the settings that name them."""
        return {
            "auth_tokens": self.tokens,
            "auth_certificates": self.names,
            "auth_jwks": str(self.keys),
            "auth_issuer": ISSUER,
            "auth_audience": AUDIENCE,
        }


@pytest.fixture
def files(tmp_path: Path, jwks: Path) -> Files:
    tokens = TokenFile(tmp_path / "tokens")
    tokens.add("alice", "viewer")
    names = tmp_path / "names"
    names.write_text(json.dumps({"name": "bob", "roles": ["viewer"]}))
    return Files(tokens.path, names, jwks)


async def test_each_file_that_cannot_be_used_is_told_until_it_can(
    zart_database: str, authority: Authority, files: Files
) -> None:
    paths = {
        "tokens": files.tokens,
        "certificates": files.names,
        "keys": files.keys,
        "certificate": authority.folder / "server.key",
    }
    more = {
        "metrics_listen": "127.0.0.1:0",
        "tls_client_ca": authority.ca,
        **files.settings(),
    }
    with encrypted(zart_database, authority, **more) as server:
        at = server.running.metrics
        found = await scraped(at)
        assert stale(found) == dict.fromkeys(paths, 0)
        assert credentials_in(found) == written("credentials")
        for what, path in paths.items():
            whole = path.read_bytes()
            path.write_bytes(b"nonsense")
            others = {**dict.fromkeys(paths, 0), what: 1}
            await tells(at, lambda found, others=others: stale(found) == others)  # type: ignore[misc]
            path.write_bytes(whole)
            await tells(at, lambda found: stale(found) == dict.fromkeys(paths, 0))


async def test_the_end_is_that_of_the_certificate_that_the_next_connection_is_shown(
    zart_database: str, authority: Authority
) -> None:
    """Whether or not somebody connects."""
    chain, key = authority.folder / "server.pem", authority.folder / "server.key"
    with encrypted(zart_database, authority, metrics_listen="127.0.0.1:0") as server:
        at, first = server.running.metrics, ends(chain)
        assert (await scraped(at))(END) == first
        old = key.read_bytes()
        authority.issue("server", "localhost", ends_in=timedelta(days=30))
        new = key.read_bytes()
        key.write_bytes(old)  # half of it is there
        found = await scraped(at)
        assert (found(END), stale(found)) == (first, {"certificate": 1})

        key.write_bytes(new)

        found = await scraped(at)
        assert (found(END), stale(found)) == (ends(chain), {"certificate": 0})
        assert ends(chain) > first + 20 * 24 * 3600


async def test_a_url_is_told_of_by_what_it_answered_last(
    zart_database: str, provider: Provider, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zart_server.identity.key_set._REFRESH_EVERY", 0.0)
    document, provider.document = provider.document, None
    with trusting(zart_database, provider.url, metrics_listen="127.0.0.1:0") as server:
        at = server.running.metrics
        for answer in (None, document, None, document):
            provider.document = answer
            expected = {"keys": float(answer is None)}
            await tells(at, lambda found, expected=expected: stale(found) == expected)  # type: ignore[misc]


async def test_a_gateway_tells_of_its_certificate(authority: Authority) -> None:
    chain, key = authority.folder / "server.pem", authority.folder / "server.key"
    at = f"127.0.0.1:{free_port()}"
    settings = {"tls_cert": chain, "tls_key": key, "metrics_listen": at}
    with gateway_to(f"127.0.0.1:{free_port()}", **settings):
        found, first = await scraped(at), ends(chain)
        assert (found(END), stale(found)) == (first, {"certificate": 0})
        there = written("credentials")
        del there[MISSING]  # it knows nobody by keys
        assert credentials_in(found) == there
        whole = key.read_bytes()
        key.write_bytes(b"")
        await tells(at, lambda found: stale(found) == {"certificate": 1})
        assert (await scraped(at))(END) == first
        key.write_bytes(whole)
        await tells(at, lambda found: stale(found) == {"certificate": 0})
        authority.issue("server", "localhost", ends_in=timedelta(days=30))
        await tells(at, lambda found: found(END) == ends(chain))


async def test_what_is_not_set_up_is_not_told_of(zart_database: str) -> None:
    at = f"127.0.0.1:{free_port()}"
    with (
        serving(zart_database, metrics_listen="127.0.0.1:0") as server,
        gateway_to(server.address, metrics_listen=at),
    ):
        for address in (server.running.metrics, at):
            assert credentials_in(await scraped(address)) == {}


@pytest.mark.parametrize("kind", ["EC", "RSA"])
@pytest.mark.parametrize("days", [-30, 1, 365 * 24, 365 * 40])  # until 2050 years have two digits
def test_the_end_is_read_as_another_library_reads_it(tmp_path: Path, kind: str, days: int) -> None:
    authority = Authority(tmp_path)
    chain, _ = authority.issue("x", "x", kind=kind, ends_in=timedelta(days=days))  # type: ignore[arg-type]
    # A name before the certificate, and others behind it, as chains have them.
    text = b"subject=CN = x\n" + chain.read_bytes() + authority.ca.read_bytes()

    assert ends_at(text) == ends(chain)


@pytest.mark.parametrize("content", [b"", b"MII=", b"MAA=", b"MAMwAQA=", b"\xff"])
def test_of_what_is_no_certificate_there_is_no_end(content: bytes) -> None:
    pem = b"-----BEGIN CERTIFICATE-----\n%s\n-----END CERTIFICATE-----\n"
    assert ends_at(pem % content) is None
    assert ends_at(content) is None
