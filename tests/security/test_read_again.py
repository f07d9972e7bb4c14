"""Files that could not be read for a moment are read again; a certificate's key may change kind."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from authority import Authority, serial_of
from cryptography import x509
from gateway.sending import gateway_to
from issuing import Issuer, TokenFile
from waiting import until

from zart.gateway.certificate import Certificate
from zart.gateway.settings import GatewayError
from zart_server.identity.certificates import Certificates
from zart_server.identity.grants import GrantFile
from zart_server.identity.key_set import KeySet
from zart_server.identity.static_tokens import StaticTokens


def test_a_token_that_is_revoked_in_a_file_that_was_not_readable_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tokens = TokenFile(tmp_path / "tokens")
    tokens.add("viewer", "viewer")
    known = StaticTokens(tokens.path)
    tokens.remove("viewer")
    assert holds_after_a_failed_read(known, monkeypatch, caplog)
    known.refresh()
    assert known._known == {}


def test_so_is_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "names"
    path.write_text(json.dumps({"name": "a", "roles": ["admin"]}))
    known = Certificates(path)
    path.write_text("")
    assert holds_after_a_failed_read(known, monkeypatch, caplog)
    known.refresh()
    assert known.find(["a"]) is None


def holds_after_a_failed_read(
    known: GrantFile[Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> bool:
    """Look twice while the file, whose stamp stays, cannot be read; it is told once."""

    def refused(*_: object, **__: object) -> str:
        raise PermissionError

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", refused)
        known.refresh()
        known.refresh()
    return [record.getMessage()[:20] for record in caplog.records] == ["what was known stays"]


async def test_so_is_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "keys"
    path.write_text(json.dumps(Issuer("k1").jwks))
    keys = KeySet(str(path))
    path.write_text(json.dumps(Issuer("k2").jwks))

    def refused(_: Path) -> bytes:
        raise PermissionError

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", refused)
        await keys.refresh()
    await keys.refresh()

    assert not await keys.find("k1")
    assert await keys.find("k2")


async def test_what_sighup_could_not_read_for_a_moment_is_read_at_the_next_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the stamp says, which may be what it was: that is what SIGHUP is for."""
    names, keys = tmp_path / "names", tmp_path / "keys"
    names.write_text(json.dumps({"name": "a", "roles": ["admin"]}))
    keys.write_text(json.dumps(Issuer("k1").jwks))
    known, key_set = Certificates(names), KeySet(str(keys))

    def refused(*_: object, **__: object) -> Any:
        raise PermissionError

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", refused)
        patch.setattr(Path, "read_bytes", refused)
        known.refresh(anew=True)
        await key_set.refresh(anew=True)
    monkeypatch.setattr(known, "_known", {})
    monkeypatch.setattr(key_set, "_keys", {})
    known.refresh()
    await key_set.refresh()

    assert known.find(["a"]) is not None
    assert await key_set.find("k1")


async def test_so_is_a_gateways_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zart.gateway.certificate._LOOK_EVERY", 0.05)
    chain, key = Authority(tmp_path / "pki").issue("gateway", "localhost")
    certificate = Certificate(chain, key, None)
    first, refusals = certificate.context.made_last, []

    def refused(*_: object) -> None:
        refusals.append(True)
        raise GatewayError("not for a moment")

    following = asyncio.create_task(certificate.follow())
    with monkeypatch.context() as patch:
        patch.setattr(Certificate, "_load", refused)
        certificate.reread()
        await until(lambda: refusals)
    await until(lambda: certificate.context.made_last is not first)
    following.cancel()


def test_a_change_that_keeps_time_and_size_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "names"
    path.write_text(json.dumps({"name": "a", "roles": ["admin"]}))
    times = path.stat()
    known = Certificates(path)
    path.write_text(json.dumps({"name": "b", "roles": ["admin"]}))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    known.refresh()

    assert known.find(["a"]) is None


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("name", ["localhost", None])
async def test_a_gateways_key_may_become_one_of_another_kind(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    version: ssl.TLSVersion,
    name: str | None,
) -> None:
    monkeypatch.setattr("zart.gateway.certificate._LOOK_EVERY", 0.05)
    authority = Authority(tmp_path / "pki")
    chain, key = authority.issue("gateway", "localhost")
    caller = authority.issue("caller", "somebody")
    settings = {"tls_cert": chain, "tls_key": key, "tls_client_ca": authority.ca}
    with gateway_to("127.0.0.1:1", **settings) as http_:

        def served() -> int:
            return served_serial(http_.address, authority, caller, version, name)

        assert served() == serial_of(chain)
        for kind in ("RSA", "EC", "RSA"):
            authority.issue("gateway", "localhost", kind=kind)
            await until(lambda: served() == serial_of(chain))
        with pytest.raises((ssl.SSLError, ConnectionError)):
            served_serial(http_.address, authority, None, version, name)
        other = Authority(tmp_path / "other").issue("caller", "somebody")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            served_serial(http_.address, authority, other, version, name)


def served_serial(
    address: str,
    trusted: Authority,
    shown: tuple[Path, Path] | None,
    version: ssl.TLSVersion,
    name: str | None,
) -> int:
    """Return the serial number of what a new connection is served, once it has an answer."""
    host, _, port = address.rpartition(":")
    context = ssl.create_default_context(cafile=trusted.ca)
    context.check_hostname = name is not None
    context.minimum_version = context.maximum_version = version
    if shown is not None:
        context.load_cert_chain(*shown)
    with (
        socket.create_connection((host, int(port)), 10) as plain,
        context.wrap_socket(plain, server_hostname=name) as connection,
    ):
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        if not connection.recv(1):
            raise ConnectionError
        der = connection.getpeercert(binary_form=True) or b""
    return x509.load_der_x509_certificate(der).serial_number
