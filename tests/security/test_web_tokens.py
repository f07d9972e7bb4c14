"""JWTs: who calls and with which roles, by keys that the issuer still publishes."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from issuing import Issuer
from rig import eventually
from security.providing import Provider
from security.trusting import is_known, trusting
from waiting import GIVE_UP

import zart
from zart import errors
from zart.testing.server import ServerUnderTest
from zart_server.app import StartError
from zart_server.identity.key_set import KeySet
from zart_server.settings import Settings, SettingsError


async def test_the_subject_is_the_principal_and_the_claim_gives_the_roles(
    trusting_server: ServerUnderTest, issuer: Issuer
) -> None:
    token = issuer.sign("alice", "starter", "viewer", "no role of ours")
    credentials = zart.Credentials(token=token)
    async with zart.connect(trusting_server.address, credentials=credentials) as client:
        await client.start("t", execution_id="x", steps=[zart.StepSpec("a")])
        assert (await client.get_execution("x")).run.principal == "alice"
        with pytest.raises(errors.RoleRequired):
            await client.restart("x")


async def test_a_token_is_known_until_it_ends_and_no_longer(
    zart_database: str, jwks: Path, issuer: Issuer
) -> None:
    with trusting(zart_database, str(jwks), auth_skew=0) as server:
        token = ""

        async def is_known_in_time() -> bool:
            nonlocal token
            token = issuer.sign("alice", "viewer", exp=int(time.time()) + 2)
            return await is_known(server, token)

        async def ended() -> bool:
            return not await is_known(server, token)

        await eventually(is_known_in_time)
        await eventually(ended)


async def test_roles_may_stand_elsewhere_and_tasks_limit_a_dispatcher(
    zart_database: str, jwks: Path, issuer: Issuer
) -> None:
    more = {"auth_roles_claim": "realm_access.roles", "auth_tasks_claim": "https://x/tasks"}
    token = issuer.sign(
        "d", roles=["admin"], realm_access={"roles": ["dispatcher"]}, **{"https://x/tasks": ["t"]}
    )
    with trusting(zart_database, str(jwks), **more) as server:
        credentials = zart.Credentials(token=token)
        async with zart.connect(server.address, credentials=credentials) as client:
            assert await client.lease_tasks("d", ["t"]) == ()
            with pytest.raises(errors.RoleRequired):
                await client.lease_tasks("d", ["other"])
            with pytest.raises(errors.RoleRequired):
                await client.list_executions()


async def test_a_key_that_is_withdrawn_ends_tokens_that_were_known(
    trusting_server: ServerUnderTest, issuer: Issuer, jwks: Path
) -> None:
    token = issuer.sign("alice", "viewer")
    assert await is_known(trusting_server, token)
    following = Issuer("k2")
    jwks.write_text(json.dumps(following.jwks))  # noqa: ASYNC240 - as an operator does

    async def ended() -> bool:
        return not await is_known(trusting_server, token)

    await eventually(ended)
    assert await is_known(trusting_server, following.sign("alice", "viewer"))


async def test_what_is_no_key_set_stops_the_start(zart_database: str, tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    secret = {"kty": "oct", "k": "c2VjcmV0", "kid": "s"}
    for text in ("{", "[]", "{}", json.dumps({"keys": [secret]})):
        path.write_text(text)
        with (
            pytest.raises(StartError, match="is no JWKS with public keys"),
            trusting(zart_database, str(path)),
        ):
            pass


async def test_keys_of_a_url_are_asked_for_once_and_again_for_a_new_key(
    zart_database: str, provider: Provider, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zart_server.identity.key_set._FETCH_AT_MOST_EVERY", 3600.0)
    with trusting(zart_database, provider.url) as server:
        for n in range(5):
            assert await is_known(server, issuer.sign(f"alice-{n}", "viewer"))
        assert provider.asked == 1

        # Whoever makes keys up cannot make the server ask again and again.
        following = Issuer("k2")
        provider.document = {"keys": [issuer.jwk, following.jwk]}
        for n in range(5):
            assert not await is_known(server, Issuer(f"made up {n}").sign("alice", "viewer"))
        assert provider.asked == 1

        monkeypatch.setattr("zart_server.identity.key_set._FETCH_AT_MOST_EVERY", 0.0)
        assert await is_known(server, following.sign("alice", "viewer"))
        assert provider.asked == 2


async def test_keys_on_this_machine_are_asked_for_without_a_proxy(
    provider: Provider, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setattr(urllib.request, "_opener", None)  # it keeps what the environment was
    assert await KeySet(provider.url).find(None)
    assert provider.asked == 1


async def test_until_a_url_answers_nobody_is_judged_and_a_dispatcher_waits(
    zart_database: str, provider: Provider, issuer: Issuer
) -> None:
    document, provider.document = provider.document, None
    task, stop = zart.Task("t"), asyncio.Event()
    task.step(name="a")(lambda _: "done")
    with trusting(zart_database, provider.url) as server:
        credentials = zart.Credentials(token=issuer.sign("alice", "admin"))
        dispatcher = zart.Dispatcher([task], address=server.address, credentials=credentials)
        running = asyncio.create_task(dispatcher.run(stop))
        async with zart.connect(server.address, credentials=credentials) as client:
            with pytest.raises(errors.KeysUnavailable) as unjudged:
                await zart.Client(client.channel, repeats=False).list_executions()
            assert unjudged.value.retry_after == timedelta(seconds=1)
            assert unjudged.value.code is grpc.StatusCode.UNAVAILABLE
            forged = zart.Credentials(token=Issuer("made up").sign("alice", "admin"))
            async with zart.connect(server.address, credentials=forged) as other:
                with pytest.raises(errors.KeysUnavailable):
                    await zart.Client(other.channel, repeats=False).list_executions()
                provider.document = document

                async def defined() -> bool:
                    return bool(await client.list_task_definitions())

                async def judged() -> bool:
                    try:
                        return await defined()
                    except errors.KeysUnavailable:
                        return False

                await eventually(judged)
                with pytest.raises(errors.InvalidCredentials):
                    await other.list_executions()
            handle = await client.start("t", execution_id="x")
            assert await handle.result(timeout=GIVE_UP) == "done"
        stop.set()
        await running


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"auth_jwks": "keys"}, "ZART_AUTH_ISSUER and ZART_AUTH_AUDIENCE"),
        ({"auth_jwks": "keys", "auth_issuer": "x"}, "ZART_AUTH_ISSUER and ZART_AUTH_AUDIENCE"),
        (
            {"auth_jwks": "keys", "auth_issuer": "", "auth_audience": "y"},
            "ZART_AUTH_ISSUER and ZART_AUTH_AUDIENCE",
        ),
        (
            {"auth_jwks": "keys", "auth_issuer": "x", "auth_audience": ""},
            "ZART_AUTH_ISSUER and ZART_AUTH_AUDIENCE",
        ),
        (
            {"auth_jwks": "http://keys.example", "auth_issuer": "x", "auth_audience": "y"},
            "a file or an https:// URL",
        ),
    ],
)
def test_settings_that_would_verify_less_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        Settings.load(database_url="postgresql://x@localhost/x", **given)
