"""Sets of keys as others publish them: with keys that are none, without ids, or of one id."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from issuing import Issuer
from jwt.algorithms import RSAAlgorithm
from rig import eventually
from security.trusting import is_known, trusting

from zart_server.identity.key_set import KeySet

ODD: list[dict[str, Any]] = [
    {"kty": "oct", "alg": "none"},
    {"kty": "oct", "alg": ["none"]},
    {"kty": "RSA", "alg": {"RS": 256}},
    {"kty": ["RSA"]},
    {"kty": "RSA", "alg": "RS256", "n": 7, "e": []},
    {"kty": "EC", "crv": "P-256", "x": [1], "y": None},
    {"kty": "EC", "crv": ["P-256"]},
    {**Issuer().jwk, "kid": ["k1"]},
    {**Issuer().jwk, "kid": {}},
    {**Issuer().jwk, "kid": 7},
]


def publish(path: Path, keys: list[dict[str, Any]]) -> None:
    """Write a set of keys, as an operator does."""
    path.write_text(json.dumps({"keys": keys}))


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
async def test_a_key_that_is_none_keeps_nobody_from_the_others(
    tmp_path: Path, issuer: Issuer, odd: dict[str, Any]
) -> None:
    path = tmp_path / "jwks.json"
    publish(path, [odd, issuer.jwk])

    assert len(await KeySet(str(path)).find(None)) == 1


async def test_nor_a_server_from_its_start_or_from_new_keys(
    zart_database: str, jwks: Path, issuer: Issuer
) -> None:
    publish(jwks, [*ODD, issuer.jwk])
    with trusting(zart_database, str(jwks)) as server:
        assert await is_known(server, issuer.sign("alice", "viewer"))

        following = Issuer("k2")
        publish(jwks, [*ODD[::-1], following.jwk])

        async def known() -> bool:
            return await is_known(server, following.sign("alice", "viewer"))

        await eventually(known)


@pytest.mark.parametrize("key_id", ["k1", None])
async def test_keys_of_one_id_or_none_all_hold(
    zart_database: str, jwks: Path, key_id: str | None
) -> None:
    of_another_kind = {"use": "sig", **({} if key_id is None else {"kid": key_id})}
    public = rsa.generate_private_key(65537, 2048).public_key()
    of_another_kind |= RSAAlgorithm.to_jwk(public, as_dict=True)
    former, following = Issuer(key_id), Issuer(key_id)
    publish(jwks, [former.jwk, of_another_kind, following.jwk])
    with trusting(zart_database, str(jwks)) as server:
        for issuer in (former, following):
            assert await is_known(server, issuer.sign("alice", "viewer"))
            assert not await is_known(server, issuer.sign("alice", "viewer", aud="elsewhere"))
        assert not await is_known(server, Issuer(key_id).sign("alice", "viewer"))

        publish(jwks, [of_another_kind, following.jwk])

        async def withdrawn() -> bool:
            return not await is_known(server, former.sign("alice", "viewer"))

        await eventually(withdrawn)
        assert await is_known(server, following.sign("alice", "viewer"))


async def test_so_does_that_of_a_token_without_an_id(zart_database: str, jwks: Path) -> None:
    former, following = Issuer("k1"), Issuer("k2")
    publish(jwks, [former.jwk, following.jwk])
    former.key_id = following.key_id = None
    with trusting(zart_database, str(jwks)) as server:
        for issuer in (former, following):
            assert await is_known(server, issuer.sign("alice", "viewer"))


async def test_a_stranger_costs_four_verifications(
    zart_database: str, jwks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuers = [Issuer(None) for _ in range(6)]
    publish(jwks, [issuer.jwk for issuer in issuers])
    tried, decode = [], jwt.decode

    def counted(*given: Any, **named: Any) -> Any:
        tried.append(given[1])
        return decode(*given, **named)

    with trusting(zart_database, str(jwks)) as server:
        assert await is_known(server, issuers[3].sign("alice", "viewer"))
        monkeypatch.setattr(jwt, "decode", counted)
        assert not await is_known(server, Issuer(None).sign("alice", "viewer"))
    assert len(tried) == 4
