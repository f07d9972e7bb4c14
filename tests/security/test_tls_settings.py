"""Settings and credentials that would protect less than they seem to: refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from authority import Authority

import zart
from zart.testing.server import serving
from zart_server.app import StartError
from zart_server.settings import Settings, SettingsError


def test_tokens_are_not_sent_where_others_can_read_them() -> None:
    for address in ("example.com:1", "10.0.0.1:1", "127.0.0.1:1,10.0.0.1:1", "dns:///a.example:1"):
        with pytest.raises(ValueError, match="over TLS only"):
            zart.connect(address, credentials=zart.Credentials(token="x"))
    for address in ("localhost:1", "127.0.0.1:1", "[::1]:1", "unix:/tmp/x", "ipv4:127.0.0.1:1",
                    "dns:///localhost:1", "ipv6:[::1]:1"):  # fmt: skip
        zart.Credentials(token="x").check_address(address)
    zart.Credentials(token="x", insecure=True).check_address("10.0.0.1:1")
    zart.Credentials(token="x", ca="system").check_address("10.0.0.1:1")


def test_credentials_that_cannot_be_meant_are_refused(tmp_path: Path) -> None:
    contradictions: list[dict[str, Any]] = [
        {"token": "x", "token_file": tmp_path},
        {"ca": "system", "certificate": tmp_path},
        {"certificate": tmp_path, "key": tmp_path},
    ]
    for given in contradictions:
        with pytest.raises(ValueError, match="ZART_"):
            zart.Credentials(**given)
    missing = tmp_path / "no"
    for unread in (zart.Credentials(ca=missing), zart.Credentials(token_file=missing)):
        with pytest.raises(ValueError, match="cannot be read"):
            zart.connect(credentials=unread)
    for token in ("", "two\nlines", "ü"):
        (tmp_path / "token").write_text(token)
        with pytest.raises(ValueError, match="the token is empty"):
            zart.connect(credentials=zart.Credentials(token_file=tmp_path / "token"))
    assert "secret" not in repr(zart.Credentials(token="secret"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"listen": "0.0.0.0:1"}, "without TLS and authentication"),
        ({"listen": "0.0.0.0:1", "tls": True}, "without TLS and authentication"),
        ({"listen": "0.0.0.0:1", "tokens": True}, "without TLS and authentication"),
        ({"tls_cert": True}, "ZART_TLS_CERT and ZART_TLS_KEY go together"),
        ({"tls_client_ca": True}, "ZART_TLS_CLIENT_CA needs"),
        ({"tls": True, "auth_certificates": True}, "ZART_AUTH_CERTIFICATES needs"),
    ],
)
def test_settings_that_would_protect_less_are_refused(
    authority: Authority, given: dict[str, Any], said: str
) -> None:
    with pytest.raises(SettingsError, match=said):
        Settings.load(database_url="postgresql://x@localhost/x", **_files(authority, given))


def test_beyond_loopback_with_tls_and_authentication(authority: Authority) -> None:
    given = _files(authority, {"listen": "0.0.0.0:1", "tls": True, "tokens": True})

    assert Settings.load(database_url="postgresql://x@localhost/x", **given).listen == "0.0.0.0:1"
    assert Settings.load(
        database_url="postgresql://x@localhost/x", listen="0.0.0.0:1", insecure=True
    ).insecure


def _files(authority: Authority, given: dict[str, Any]) -> dict[str, Any]:
    """Put files where the settings want them."""
    files = {
        "tls": {"tls_cert": "server.pem", "tls_key": "server.key"},
        "tokens": {"auth_tokens": "ca.pem"},
    }
    found = {}
    for name, value in given.items():
        if value is True:
            for setting, file in files.get(name, {name: "ca.pem"}).items():
                found[setting] = authority.folder / file
        else:
            found[name] = value
    return found


def test_files_that_do_not_fit_stop_the_start(zart_database: str, authority: Authority) -> None:
    authority.issue("other", "localhost")
    folder = authority.folder
    with (
        pytest.raises(StartError, match="cannot be used together"),
        serving(zart_database, tls_cert=folder / "server.pem", tls_key=folder / "other.key"),
    ):
        pass


@pytest.mark.parametrize("connect", [zart.connect, zart.connect_sync])
async def test_files_that_do_not_fit_are_told_when_connecting(
    authority: Authority, connect: Callable[..., Any]
) -> None:
    authority.issue("alice", "alice")
    authority.issue("bob", "bob")
    folder = authority.folder
    (folder / "half.pem").write_text(authority.ca.read_text()[:200])
    misfits: list[dict[str, Any]] = [
        {"ca": authority.ca, "certificate": folder / "alice.pem", "key": folder / "bob.key"},
        {"ca": "system", "certificate": folder / "alice.pem", "key": folder / "bob.key"},
        {"ca": folder / "half.pem"},
    ]
    for given in misfits:
        with pytest.raises(ValueError, match="cannot be used together"):
            connect(credentials=zart.Credentials(**given))
