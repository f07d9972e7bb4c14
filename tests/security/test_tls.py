"""TLS: encrypted, mutual where wanted, and certificates replaced under running servers."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

import pytest
from acceptance.test_make_run import free_port
from authority import Authority, serial_of
from cryptography import x509
from issuing import TokenFile
from rig import eventually, specs

import zart
from zart import errors
from zart.cli.main import main
from zart.cli.stack import Stack
from zart.testing.server import ServerUnderTest, serving
from zart_server.app import StartError
from zart_server.settings import Settings, SettingsError


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """An authority that signed ``server.pem``."""
    made = Authority(tmp_path / "pki")
    made.issue("server", "localhost")
    return made


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


async def works(server: ServerUnderTest, credentials: zart.Credentials) -> bool:
    """Whether a call goes through."""
    async with zart.connect(server.address, credentials=credentials, timeout=2) as client:
        try:
            await client.list_executions()
        except errors.Unreachable:
            return False
    return True


def served_serial(server: ServerUnderTest) -> int:
    """Return the serial number of the certificate that a new connection gets."""
    host, _, port = server.address.rpartition(":")
    certificate = ssl.get_server_certificate((host, int(port)))
    return x509.load_pem_x509_certificate(certificate.encode()).serial_number


async def test_only_who_is_trusted_is_talked_to(
    zart_database: str, authority: Authority, tmp_path: Path
) -> None:
    with encrypted(zart_database, authority) as server:
        assert await works(server, show(authority))
        assert not await works(server, show(Authority(tmp_path / "other")))
        assert not await works(server, zart.Credentials())
        with zart.connect_sync(server.address, credentials=show(authority)) as client:
            assert list(client.list_executions()) == []


async def test_certificates_of_callers_are_asked_for_and_name_them(
    zart_database: str, authority: Authority, tmp_path: Path
) -> None:
    names = tmp_path / "names"
    granted = (
        {"name": "alice", "roles": ["starter", "viewer"]},
        {"name": "spiffe://example/bob", "roles": ["viewer"]},
        {"name": "carol.example", "roles": []},
    )
    names.write_text("\n".join(map(json.dumps, granted)))
    authority.issue("alice", "alice", x509.DNSName("unknown.example"))
    authority.issue("bob", "alice", x509.UniformResourceIdentifier("spiffe://example/bob"))
    authority.issue("carol", "x", x509.DNSName("carol.example"))
    authority.issue("dave", "dave")
    Authority(tmp_path / "other").issue("alice", "alice")
    more = {"tls_client_ca": authority.ca, "auth_certificates": names}
    with encrypted(zart_database, authority, **more) as server:
        async with zart.connect(server.address, credentials=show(authority, "alice")) as alice:
            await alice.start("t", execution_id="x", steps=specs({"a": ()}))
            assert (await alice.get_execution("x")).run.principal == "alice"
        # An alternative name says more than the common name.
        async with zart.connect(server.address, credentials=show(authority, "bob")) as bob:
            with pytest.raises(errors.RoleRequired):
                await bob.start("t", steps=specs({"a": ()}))
            assert len(await bob.list_executions()) == 1
        async with zart.connect(server.address, credentials=show(authority, "carol")) as carol:
            with pytest.raises(errors.RoleRequired):
                await carol.list_executions()
        async with zart.connect(server.address, credentials=show(authority, "dave")) as dave:
            with pytest.raises(errors.InvalidCredentials):
                await dave.list_executions()
        forged = tmp_path / "other"
        assert not await works(
            server,
            zart.Credentials(
                ca=authority.ca, certificate=forged / "alice.pem", key=forged / "alice.key"
            ),
        )
        assert not await works(server, show(authority))  # none at all


async def test_a_token_goes_before_the_certificate(
    zart_database: str, authority: Authority, tmp_path: Path
) -> None:
    names = tmp_path / "names"
    names.write_text(json.dumps({"name": "alice", "roles": ["admin"]}))
    tokens = TokenFile(tmp_path / "tokens")
    token = tokens.add("ci", "viewer")
    authority.issue("alice", "alice")
    with encrypted(
        zart_database,
        authority,
        tls_client_ca=authority.ca,
        auth_certificates=names,
        auth_tokens=tokens.path,
    ) as server:
        for given, refusal in ((token, errors.RoleRequired), ("wrong", errors.InvalidCredentials)):
            credentials = show(authority, "alice", token=given)
            async with zart.connect(server.address, credentials=credentials) as client:
                with pytest.raises(refusal):
                    await client.restart("x")


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


async def test_dispatcher_and_command_find_it_all_in_the_environment(
    zart_database: str,
    authority: Authority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tokens = TokenFile(tmp_path / "tokens")
    tokens.add("ci", "starter", "viewer")
    tokens.add("worker", "dispatcher")
    task = zart.Task("hello")

    @task.step()
    def greet(ctx: zart.StepContext) -> str:
        return "hello"

    with encrypted(zart_database, authority, auth_tokens=tokens.path) as server:
        monkeypatch.setenv("ZART_ADDRESS", server.address)
        monkeypatch.setenv("ZART_TLS_CA", str(authority.ca))
        monkeypatch.setenv("ZART_TOKEN", "zart_token-of-worker")
        stop = asyncio.Event()
        dispatcher = asyncio.create_task(zart.Dispatcher([task]).run(stop))
        credentials = show(authority, token="zart_token-of-ci")
        async with zart.connect(credentials=credentials) as client:

            async def registered() -> bool:
                return bool(await client.list_task_definitions())

            await eventually(registered)
        monkeypatch.setenv("ZART_TOKEN", "zart_token-of-ci")
        code = await asyncio.to_thread(
            main, ["start", "hello", "--execution-id", "x", "--wait", "--output", "json"]
        )
        assert code == 0
        assert await asyncio.to_thread(main, ["status", "x"]) == 0
        assert await asyncio.to_thread(main, ["restart", "x", "--yes"]) == 1
        stop.set()
        await dispatcher
    told = capsys.readouterr()
    assert "worker" in told.out
    assert "[ROLE_REQUIRED]" in told.err


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


async def test_zart_dev_serves_and_dispatches_over_tls(
    zart_database: str, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = TokenFile(tmp_path / "tokens")
    monkeypatch.setenv("ZART_DATABASE_URL", zart_database)
    monkeypatch.setenv("ZART_TLS_CERT", str(authority.folder / "server.pem"))
    monkeypatch.setenv("ZART_TLS_KEY", str(authority.folder / "server.key"))
    monkeypatch.setenv("ZART_AUTH_TOKENS", str(tokens.path))
    monkeypatch.setenv("ZART_TOKEN", tokens.add("dev", "dispatcher", "starter", "viewer"))
    listen, http = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    folder = tmp_path / "zart"
    async with Stack(["examples.order"], listen=listen, http=http, folder=folder, quiet=True):
        credentials = show(authority, token="zart_token-of-dev")
        async with zart.connect(listen, credentials=credentials) as client:

            async def registered() -> bool:
                return bool(await client.list_task_definitions())

            await eventually(registered)
        host, _, port = http.rpartition(":")
        trusted = ssl.create_default_context(cafile=authority.ca)
        connection = HTTPSConnection(host, int(port), timeout=10, context=trusted)
        connection.request("GET", "/api/v1/executions")
        assert connection.getresponse().status == 401  # the environment's token is not lent
        connection.close()


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


async def test_who_speaks_tls_and_who_does_not_is_told(
    zart_database: str,
    zart_server: ServerUnderTest,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def told(address: str) -> str:
        line = ["--address", address, "--timeout", "1", "list"]
        assert main(line) == 3
        return capsys.readouterr().err

    with encrypted(zart_database, authority) as server:
        said = await asyncio.to_thread(told, server.address)
        assert f"{server.address} speaks TLS: set ZART_TLS_CA" in said
    monkeypatch.setenv("ZART_TLS_CA", str(authority.ca))
    said = await asyncio.to_thread(told, zart_server.address)
    assert f"{zart_server.address} does not speak TLS: unset ZART_TLS_CA" in said
    assert "TLS" not in (await asyncio.to_thread(told, f"127.0.0.1:{free_port()}")).split("(")[0]
