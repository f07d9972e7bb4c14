"""Certificates, keys and tokens that are replaced under running servers and clients."""

from __future__ import annotations

import json
import os
import signal
import ssl
from pathlib import Path

import pytest
from acceptance.serve_process import serve_processes
from authority import Authority, serial_of
from cryptography import x509
from issuing import TokenFile
from rig import specs
from security.encrypted import encrypted, show
from waiting import GIVE_UP, until

import zart
from zart import errors
from zart.testing.server import ServerUnderTest
from zart_server.tls import Certificate


def served_serial(server: ServerUnderTest) -> int:
    """Return the serial number of the certificate that a new connection gets."""
    host, _, port = server.address.rpartition(":")
    certificate = ssl.get_server_certificate((host, int(port)))
    return x509.load_pem_x509_certificate(certificate.encode()).serial_number


async def test_the_servers_certificate_is_replaced_without_a_restart(
    zart_database: str, authority: Authority
) -> None:
    with encrypted(zart_database, authority) as server:
        first = served_serial(server)
        assert first == serial_of(authority.folder / "server.pem")
        async with zart.connect(server.address, credentials=show(authority)) as client:
            await client.start("t", execution_id="x", steps=specs({"a": ()}))
            watch = client.watch_execution("x")
            await anext(watch)

            authority.issue("server", "localhost")

            second = served_serial(server)
            assert second == serial_of(authority.folder / "server.pem") != first
            # What was connected before goes on.
            await client.cancel_execution("x")
            assert [state.run.status.value async for state in watch][-1] == "CANCELLED"


async def test_half_a_replacement_changes_nothing(zart_database: str, authority: Authority) -> None:
    with encrypted(zart_database, authority) as server:
        first = served_serial(server)
        key = authority.folder / "server.key"
        old = key.read_bytes()
        authority.issue("server", "localhost")
        new = key.read_bytes()
        key.write_bytes(old)  # not the key of the new certificate
        assert served_serial(server) == first

        key.write_bytes(new)

        assert served_serial(server) != first


STAYS = "the certificate stays as it was"


async def test_what_cannot_be_used_is_told_once_whoever_connects(
    zart_database: str, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    with encrypted(zart_database, authority) as server:
        first = served_serial(server)
        authority.issue("other", "localhost")
        key, whole = authority.folder / "server.key", (authority.folder / "server.key").read_bytes()
        key.write_bytes((authority.folder / "other.key").read_bytes())
        for _ in range(5):
            assert served_serial(server) == first
        assert caplog.text.count(STAYS) == 1

        key.write_bytes(b"")  # another thing that cannot be used
        for _ in range(2):
            assert served_serial(server) == first
        assert caplog.text.count(STAYS) == 2
        assert {r.levelname for r in caplog.records if STAYS in r.getMessage()} == {"ERROR"}

        key.write_bytes(whole)
        assert served_serial(server) == first


async def test_sighup_has_the_certificate_read_before_anybody_connects(
    zart_database: str, authority: Authority, tmp_path: Path
) -> None:
    log = tmp_path / "server-0.log"

    def says(text: str) -> bool:
        return text in log.read_text()

    settings = {
        "ZART_TLS_CERT": str(authority.folder / "server.pem"),
        "ZART_TLS_KEY": str(authority.folder / "server.key"),
    }
    with serve_processes(1, zart_database, tmp_path, **settings) as (server,):
        assert server._process is not None
        await until(lambda: says("zart serves on"))
        key, whole = authority.folder / "server.key", (authority.folder / "server.key").read_bytes()
        key.write_bytes(b"")
        server._process.send_signal(signal.SIGHUP)
        await until(lambda: says(STAYS))

        key.write_bytes(whole)
        server._process.send_signal(signal.SIGHUP)
        await until(lambda: says("the certificate was read anew"))
        async with zart.connect(server.address, credentials=show(authority)) as client:
            assert await client.list_executions() == []


def test_what_sighup_could_not_read_for_a_moment_is_read_at_a_handshake(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of the files says that it was not."""
    read = Certificate(
        authority.folder / "server.pem", authority.folder / "server.key", client_ca=None
    )

    def refused(_: Path) -> bytes:
        raise PermissionError

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", refused)
        read.reread()
        assert read._fetch() is None

    assert read._fetch() is not None
    assert read._fetch() is None


async def test_a_callers_own_files_are_replaced_without_a_restart(
    zart_database: str, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zart.renewing._LOOK_EVERY", 0.0)
    tokens = TokenFile(tmp_path / "tokens")
    token_file = tmp_path / "token"
    token_file.write_text(tokens.add("first", "viewer") + "\n")
    tokens.add("second", "viewer", "starter")
    other = Authority(tmp_path / "other")
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(other.ca.read_bytes())
    credentials = zart.Credentials(ca=bundle, token_file=token_file)
    with encrypted(zart_database, authority, auth_tokens=tokens.path) as server:
        async with zart.connect(server.address, credentials=credentials, timeout=2) as client:
            with pytest.raises(errors.Unreachable):
                await client.list_executions()
            client.timeout = GIVE_UP
            bundle.write_bytes(authority.ca.read_bytes())
            assert await client.list_executions() == []

            token_file.write_text("zart_token-of-second\n")
            await client.start("t", steps=specs({"a": ()}))

            # A watch goes on although its channel was replaced, and more than once.
            [execution] = await client.list_executions()
            watch = client.watch_execution(execution.execution_id)
            await anext(watch)
            for _ in range(3):
                os.utime(bundle)
                assert len(await client.list_executions()) == 1
            await client.cancel_execution(execution.execution_id)
            assert [state.run.status.value async for state in watch][-1] == "CANCELLED"
        with zart.connect_sync(server.address, credentials=credentials) as plain:
            assert len(list(plain.list_executions())) == 1
            os.utime(bundle)
            assert len(list(plain.list_executions())) == 1


async def test_half_a_replacement_of_a_callers_own_files_changes_nothing(
    zart_database: str, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zart.renewing._LOOK_EVERY", 0.0)
    names = tmp_path / "names"
    granted = {"alice": ["viewer"], "bob": ["viewer", "starter"]}
    names.write_text("\n".join(json.dumps({"name": n, "roles": r}) for n, r in granted.items()))
    certificate, key = authority.issue("caller", "alice")
    old = key.read_bytes()
    bundle, whole = tmp_path / "bundle.pem", authority.ca.read_bytes()
    bundle.write_bytes(whole)
    credentials = zart.Credentials(ca=bundle, certificate=certificate, key=key)
    more = {"tls_client_ca": authority.ca, "auth_certificates": names}
    with encrypted(zart_database, authority, **more) as server:
        async with zart.connect(server.address, credentials=credentials) as client:
            assert await client.list_executions() == []

            authority.issue("caller", "bob")
            new = key.read_bytes()
            key.write_bytes(old)  # not the key of the new certificate
            assert await client.list_executions() == []

            bundle.write_bytes(whole[: len(whole) // 2])
            key.write_bytes(new)
            with pytest.raises(errors.RoleRequired):  # it is still alice
                await client.start("t", steps=specs({"a": ()}))

            bundle.write_bytes(whole)
            await client.start("t", steps=specs({"a": ()}))
