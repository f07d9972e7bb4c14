"""The gateway passes on who calls, lends nobody an identity, and is as guarded as the server."""

from __future__ import annotations

import http.client
import json
import ssl
from pathlib import Path

import pytest
from authority import Authority, serial_of
from cryptography import x509
from gateway.sending import gateway_to
from issuing import Connect, TokenFile
from rig import eventually, specs
from waiting import GIVE_UP

import zart
from zart.gateway.certificate import Certificate
from zart.gateway.server import running
from zart.gateway.settings import GatewayError, Settings
from zart.testing.server import ServerUnderTest, serving


def bearer(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer zart_token-of-{name}"}


async def test_a_caller_is_who_it_is_over_http_too(
    connect: Connect, guarded: ServerUnderTest
) -> None:
    await connect("starter").start("t", execution_id="x", steps=specs({"a": ()}))
    with gateway_to(guarded.address) as http_:
        missing = http_.get("/api/v1/executions/x")
        invalid = http_.get("/api/v1/executions/x", **bearer("stranger"))
        forbidden = http_.post("/admin/v1/executions/x/restart", {}, **bearer("viewer"))
        absent = http_.post("/admin/v1/executions/y/restart", {}, **bearer("viewer"))
        allowed = http_.post("/admin/v1/executions/x/restart", {}, **bearer("operator"))
        cancelled = http_.post("/api/v1/executions/x/cancel", {}, **bearer("starter"))
        watched = http_.get("/api/v1/executions/x/watch", **bearer("viewer"))
        unseen = http_.get("/api/v1/executions/x/watch", **bearer("starter"))
        start = {"start": {"taskName": "t", "executionId": "x", "ifExists": 2}}
        run = http_.post("/api/v1/executions:run", start, **bearer("starter"))  # and no viewer
        ready, alive, openapi = (
            http_.get(path) for path in ("/readyz", "/healthz", "/openapi.json")
        )

    assert (missing.status, missing.reason) == (401, "MISSING_CREDENTIALS")
    assert (invalid.status, invalid.reason) == (401, "INVALID_CREDENTIALS")
    assert missing.headers["WWW-Authenticate"] == "Bearer"
    assert (forbidden.status, forbidden.reason) == (403, "ROLE_REQUIRED")
    assert absent.text == forbidden.text
    assert (allowed.status, allowed.json["run"]["principal"]) == (200, "operator")
    assert cancelled.status == 200
    assert json.loads(watched.text.splitlines()[-1])["run"]["status"] == "RUN_STATUS_CANCELLED"
    assert (unseen.status, run.status) == (403, 403)
    assert [ready.status, alive.status, openapi.status] == [200, 200, 200]


async def test_a_token_of_the_gateways_environment_is_nobodys(
    guarded: ServerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZART_TOKEN", "zart_token-of-admin")
    credentials = zart.Credentials.without_token()
    with gateway_to(guarded.address, credentials=credentials) as http_:
        assert http_.get("/api/v1/executions").status == 401
        assert http_.get("/api/v1/executions", **bearer("viewer")).status == 200


def test_its_certificate_is_not_its_callers(
    zart_database: str, tokens: TokenFile, tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "pki")
    chain, key = authority.issue("server", "localhost")
    own, own_key = authority.issue("gateway", "gateway", x509.DNSName("gateway"))
    names = tmp_path / "names"
    names.write_text(json.dumps({"name": "gateway", "roles": ["admin"]}) + "\n")
    credentials = zart.Credentials(ca=authority.ca, certificate=own, key=own_key)
    with (
        serving(
            zart_database,
            tls_cert=chain,
            tls_key=key,
            tls_client_ca=authority.ca,
            auth_certificates=names,
            auth_tokens=tokens.path,
        ) as server,
        gateway_to(server.address, credentials=credentials) as http_,
    ):
        with zart.connect_sync(server.address, credentials=credentials) as itself:
            assert list(itself.list_executions()) == []  # for a caller it would do
        nobody = http_.get("/api/v1/executions")
        allowed = http_.get("/api/v1/executions", **bearer("viewer"))
        ready = http_.get("/readyz")

    assert (nobody.status, nobody.reason) == (401, "MISSING_CREDENTIALS")
    assert [allowed.status, ready.status] == [200, 200]


def get(address: str, trusted: Authority, shown: tuple[Path, Path] | None = None) -> int:
    """Ask over TLS, as a viewer."""
    host, _, port = address.rpartition(":")
    context = ssl.create_default_context(cafile=trusted.ca)
    if shown is not None:
        context.load_cert_chain(*shown)
    connection = http.client.HTTPSConnection(host, int(port), timeout=GIVE_UP, context=context)
    try:
        connection.request("GET", "/api/v1/executions", headers=bearer("viewer"))
        return connection.getresponse().status
    finally:
        connection.close()


async def test_it_serves_and_calls_over_tls_and_its_certificate_is_replaced(
    zart_database: str, tokens: TokenFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zart.gateway.certificate._LOOK_EVERY", 0.05)
    authority = Authority(tmp_path / "pki")
    chain, key = authority.issue("server", "localhost")
    own, own_key = authority.issue("gateway", "localhost")
    caller = authority.issue("caller", "somebody")
    with (
        serving(zart_database, tls_cert=chain, tls_key=key, auth_tokens=tokens.path) as server,
        gateway_to(
            server.address,
            tls_cert=own,
            tls_key=own_key,
            tls_client_ca=authority.ca,
            credentials=zart.Credentials(ca=authority.ca),
        ) as http_,
    ):
        assert get(http_.address, authority, caller) == 200
        with pytest.raises((ssl.SSLError, ConnectionError)):
            get(http_.address, authority)
        with pytest.raises(ssl.SSLError):
            get(http_.address, Authority(tmp_path / "other"), caller)

        own_key.write_bytes(key.read_bytes())  # half of a replacement
        assert get(http_.address, authority, caller) == 200
        authority.issue("gateway", "localhost")
        new = serial_of(own)

        async def replaced() -> bool:
            return served_serial(http_.address, authority, caller) == new

        await eventually(replaced)
        assert get(http_.address, authority, caller) == 200


def served_serial(address: str, trusted: Authority, shown: tuple[Path, Path]) -> int:
    """Return the serial number of the certificate that a new connection gets."""
    host, _, port = address.rpartition(":")
    context = ssl.create_default_context(cafile=trusted.ca)
    context.load_cert_chain(*shown)
    connection = http.client.HTTPSConnection(host, int(port), timeout=GIVE_UP, context=context)
    connection.connect()
    try:
        der = connection.sock.getpeercert(binary_form=True) or b""
    finally:
        connection.close()
    return x509.load_der_x509_certificate(der).serial_number


@pytest.mark.parametrize("asks", [True, False])
async def test_beyond_loopback_it_wants_tls_and_a_server_that_asks_who_calls(
    zart_database: str, tokens: TokenFile, tmp_path: Path, *, asks: bool
) -> None:
    authority = Authority(tmp_path / "pki")
    own, own_key = authority.issue("gateway", "localhost")
    more = {"auth_tokens": tokens.path} if asks else {}
    with serving(zart_database, **more) as server:
        settings = Settings(
            listen="0.0.0.0:0", address=server.address, tls_cert=own, tls_key=own_key
        )
        if asks:
            async with running(settings) as address:
                assert address.startswith("0.0.0.0:")
        else:
            with pytest.raises(GatewayError, match="lets in whoever comes"):
                async with running(settings):
                    pass
    with pytest.raises(GatewayError, match="without TLS and authentication"):
        Settings(listen="0.0.0.0:0")


def test_files_that_do_not_fit_stop_its_start(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "pki")
    chain, key = authority.issue("one", "localhost")
    _, other = authority.issue("two", "localhost")
    with pytest.raises(GatewayError, match="go together"):
        Settings(tls_cert=chain)
    with pytest.raises(GatewayError, match="needs ZART_TLS_CERT"):
        Settings(tls_client_ca=authority.ca)
    for chosen in (
        Settings(tls_cert=chain, tls_key=other),
        Settings(tls_cert=chain, tls_key=key, tls_client_ca=key),
    ):
        with pytest.raises(GatewayError, match="cannot be used"):
            Certificate.of(chosen)
