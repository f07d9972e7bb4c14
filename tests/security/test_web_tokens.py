"""JWTs: only what the issuer signed for this server, now, with a key it still publishes."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from issuing import AUDIENCE, ISSUER, Issuer
from rig import eventually

import zart
from zart import errors
from zart.testing.server import ServerUnderTest, serving
from zart_server.app import StartError
from zart_server.settings import Settings, SettingsError


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def jwks(tmp_path: Path, issuer: Issuer) -> Path:
    """The file of keys."""
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps(issuer.jwks))
    return path


@pytest.fixture
def server(zart_database: str, jwks: Path) -> Iterator[ServerUnderTest]:
    with trusting(zart_database, str(jwks)) as server:
        yield server


@contextmanager
def trusting(database: str, jwks: str, **more: Any) -> Iterator[ServerUnderTest]:
    with serving(
        database, auth_jwks=jwks, auth_issuer=ISSUER, auth_audience=AUDIENCE, **more
    ) as server:
        yield server


async def is_known(server: ServerUnderTest, token: str) -> bool:
    """Whether a token lets its bearer in."""
    credentials = zart.Credentials(token=token)
    async with zart.connect(server.address, credentials=credentials) as client:
        try:
            await client.list_executions()
        except errors.InvalidCredentials:
            return False
    return True


async def test_the_subject_is_the_principal_and_the_claim_gives_the_roles(
    server: ServerUnderTest, issuer: Issuer
) -> None:
    token = issuer.sign("alice", "starter", "viewer", "no role of ours")
    credentials = zart.Credentials(token=token)
    async with zart.connect(server.address, credentials=credentials) as client:
        await client.start("t", execution_id="x", steps=[zart.StepSpec("a")])
        assert (await client.get_execution("x")).run.principal == "alice"
        with pytest.raises(errors.RoleRequired):
            await client.restart("x")


def _now() -> int:
    return int(time.time())


def _signed_by_another(issuer: Issuer) -> str:
    return Issuer(issuer.key_id).sign("alice", "viewer")


def _unsigned(issuer: Issuer) -> str:
    said = jwt.decode(issuer.sign("alice", "viewer"), options={"verify_signature": False})
    return jwt.encode(said, "", algorithm="none", headers={"kid": issuer.key_id})


def _signed_with_the_public_key_as_a_secret(issuer: Issuer) -> str:
    """Claim a symmetric algorithm, whose secret would be what everybody knows."""
    public = issuer.key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    said = jwt.decode(issuer.sign("alice", "viewer"), options={"verify_signature": False})
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in ({"alg": "HS256", "typ": "JWT", "kid": issuer.key_id}, said)
    ]
    signature = hmac.new(public, b".".join(parts), hashlib.sha256).digest()
    return b".".join((*parts, base64.urlsafe_b64encode(signature).rstrip(b"="))).decode()


def _cut(issuer: Issuer) -> str:
    return issuer.sign("alice", "viewer")[:-4]


def _claiming(subject: str = "alice", **claims: Any) -> Callable[[Issuer], str]:
    return lambda issuer: issuer.sign(
        subject, "viewer", **{k: v() if callable(v) else v for k, v in claims.items()}
    )


BAD: dict[str, Callable[[Issuer], str]] = {
    "expired": _claiming(exp=lambda: _now() - 40),
    "not valid yet": _claiming(nbf=lambda: _now() + 40),
    "issued in the future": _claiming(iat=lambda: _now() + 40),
    "of another issuer": _claiming(iss="https://elsewhere.example"),
    "for another audience": _claiming(aud="elsewhere"),
    "without an end": _claiming(exp=None),
    "without an issuer": _claiming(iss=None),
    "without an audience": _claiming(aud=None),
    "without a subject": _claiming(sub=None),
    "with an empty subject": _claiming(subject=""),
    "with line breaks in the subject": _claiming(subject="a\nb"),
    "with a subject that is too long": _claiming(subject="x" * 256),
    "with roles that are no words": _claiming(roles=[1, 2]),
    "with tasks that are no list": _claiming(tasks="all"),
    "signed by another": _signed_by_another,
    "unsigned": _unsigned,
    "signed with the public key as a secret": _signed_with_the_public_key_as_a_secret,
    "cut": _cut,
    "of an unknown key": lambda _: Issuer("k9").sign("alice", "viewer"),
    "no JWT": lambda _: "e30.e30",
}


@pytest.mark.parametrize("kind", BAD)
async def test_a_token_is_refused(server: ServerUnderTest, issuer: Issuer, kind: str) -> None:
    token = BAD[kind](issuer)

    assert not await is_known(server, token)
    assert not await is_known(server, token)  # nor from memory


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"exp": lambda: _now() - 10},  # clocks differ
        {"nbf": lambda: _now() + 10},
        {"aud": ["elsewhere", AUDIENCE]},
        {"roles": "starter viewer"},
    ],
    ids=["as it is", "just ended", "about to begin", "for others too", "of two roles"],
)
async def test_a_token_holds(
    server: ServerUnderTest, issuer: Issuer, claims: dict[str, Any]
) -> None:
    assert await is_known(server, _claiming(**claims)(issuer))


async def test_a_token_is_known_until_it_ends_and_no_longer(
    zart_database: str, jwks: Path, issuer: Issuer
) -> None:
    with trusting(zart_database, str(jwks), auth_skew=0) as server:
        token = issuer.sign("alice", "viewer", exp=_now() + 2)
        assert await is_known(server, token)

        async def ended() -> bool:
            return not await is_known(server, token)

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
    server: ServerUnderTest, issuer: Issuer, jwks: Path
) -> None:
    token = issuer.sign("alice", "viewer")
    assert await is_known(server, token)
    following = Issuer("k2")
    jwks.write_text(json.dumps(following.jwks))  # noqa: ASYNC240 - as an operator does

    async def ended() -> bool:
        return not await is_known(server, token)

    await eventually(ended)
    assert await is_known(server, following.sign("alice", "viewer"))


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


class _Provider(HTTPServer):
    """Publishes keys, and counts how often it was asked."""

    def __init__(self, document: dict[str, Any]) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.document: dict[str, Any] | None = document
        self.asked = 0
        self.url = f"http://127.0.0.1:{self.server_address[1]}/keys"


class _Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        provider = self.server
        assert isinstance(provider, _Provider)
        provider.asked += 1
        body = json.dumps(provider.document).encode()
        self.send_response(200 if provider.document else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's
        """Say nothing."""


@pytest.fixture
def provider(issuer: Issuer) -> Iterator[_Provider]:
    made = _Provider(issuer.jwks)
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


async def test_keys_of_a_url_are_asked_for_once_and_again_for_a_new_key(
    zart_database: str, provider: _Provider, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
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


async def test_until_a_url_answers_nobody_is_judged_and_a_dispatcher_waits(
    zart_database: str, provider: _Provider, issuer: Issuer
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
                await client.list_executions()
            assert unjudged.value.retry_after == timedelta(seconds=1)
            assert unjudged.value.code is grpc.StatusCode.UNAVAILABLE
            forged = zart.Credentials(token=Issuer("made up").sign("alice", "admin"))
            async with zart.connect(server.address, credentials=forged) as other:
                with pytest.raises(errors.KeysUnavailable):
                    await other.list_executions()
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
            assert await handle.result(timeout=20) == "done"
        stop.set()
        await running


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"auth_jwks": "keys"}, "ZART_AUTH_ISSUER and ZART_AUTH_AUDIENCE"),
        ({"auth_jwks": "keys", "auth_issuer": "x"}, "ZART_AUTH_ISSUER and ZART_AUTH_AUDIENCE"),
        (
            {"auth_jwks": "http://keys.example", "auth_issuer": "x", "auth_audience": "y"},
            "a file or an https:// URL",
        ),
    ],
)
def test_settings_that_would_verify_less_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        Settings.load(database_url="postgresql://x@localhost/x", **given)
