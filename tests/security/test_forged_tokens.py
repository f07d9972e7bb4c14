"""JWTs that are forged, out of date, of others or malformed: refused."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from issuing import AUDIENCE, Issuer
from security.trusting import is_known

from zart.testing.server import ServerUnderTest


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


def _nested(_: Issuer) -> str:
    """Return brackets without end, as many as metadata has room for."""
    return base64.urlsafe_b64encode(b"[" * 9_000).decode() + ".e30.e30"


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
    "nested": _nested,
    "no JWT": lambda _: "e30.e30",
}


@pytest.mark.parametrize("kind", BAD)
async def test_a_token_is_refused(
    trusting_server: ServerUnderTest, issuer: Issuer, kind: str
) -> None:
    token = BAD[kind](issuer)

    assert not await is_known(trusting_server, token)
    assert not await is_known(trusting_server, token)  # nor from memory


async def test_a_header_that_some_versions_of_pyjwt_cannot_bear_is_refused(
    trusting_server: ServerUnderTest, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def recurses(_: str) -> None:
        raise RecursionError

    monkeypatch.setattr(jwt, "get_unverified_header", recurses)
    assert not await is_known(trusting_server, _nested(issuer))


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
    trusting_server: ServerUnderTest, issuer: Issuer, claims: dict[str, Any]
) -> None:
    assert await is_known(trusting_server, _claiming(**claims)(issuer))
