"""TLS: encrypted, and mutual where that is wanted."""

from __future__ import annotations

import asyncio
import json
import ssl
from http.client import HTTPSConnection
from pathlib import Path

import pytest
from authority import Authority
from cryptography import x509
from issuing import TokenFile
from ports import free_port
from rig import eventually, specs
from security.encrypted import encrypted, show, works
from waiting import GIVE_UP

import zart
from zart import errors
from zart.cli.main import main
from zart.cli.stack import Stack
from zart.testing.server import ServerUnderTest


async def test_only_who_is_trusted_is_talked_to(
    zart_database: str, authority: Authority, tmp_path: Path
) -> None:
    with encrypted(zart_database, authority) as server:
        assert await works(server, show(authority), GIVE_UP)
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
                await bob.start("t", execution_id="y", steps=specs({"a": ()}), incident="I")
            assert len(await bob.list_executions()) == 1

            async def is_on_record() -> bool:
                found = await bob.list_operations(statuses=["REFUSED"], execution_id="y")
                return [(o.principal, o.incident) for o in found] == [("spiffe://example/bob", "I")]

            await eventually(is_on_record)
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
        connection = HTTPSConnection(host, int(port), timeout=GIVE_UP, context=trusted)
        connection.request("GET", "/api/v1/executions")
        assert connection.getresponse().status == 401  # the environment's token is not lent
        connection.close()


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

    async def is_told(address: str, said: str) -> bool:
        """Ask once: a server that has not shaken hands within a second is not known to do so."""
        return said in await asyncio.to_thread(told, address)

    with encrypted(zart_database, authority) as server:
        said = f"{server.address} speaks TLS: set ZART_TLS_CA"
        await eventually(lambda: is_told(server.address, said))
    monkeypatch.setenv("ZART_TLS_CA", str(authority.ca))
    said = f"{zart_server.address} does not speak TLS: unset ZART_TLS_CA"
    await eventually(lambda: is_told(zart_server.address, said))
    assert "TLS" not in (await asyncio.to_thread(told, f"127.0.0.1:{free_port()}")).split("(")[0]
