"""JWTs: verified once by the issuer's key, then known by their hash until they end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jwt
from jwt import PyJWK
from jwt.exceptions import InvalidSignatureError, PyJWTError
from pydantic import TypeAdapter, ValidationError

from zart_server.domain.errors import InvalidCredentials
from zart_server.domain.identity import Identity, Role
from zart_server.identity.grants import Principal
from zart_server.identity.key_set import KeySet

_KNOWN_AT_MOST = 10_000
_REFUSED_FOR = 10.0  # seconds that a token that does not hold is not verified again
_TRIED = 4  # keys that one token may be signed with: each costs a verification
_principal = TypeAdapter(Principal)
_names = TypeAdapter(list[str])


@dataclass(frozen=True, slots=True)
class Claims:
    """What a JWT must say, and where it says the roles. ``skew`` is in seconds."""

    issuer: str
    audience: str
    roles: str = "roles"
    tasks: str = "tasks"
    skew: float = 30.0


class WebTokens:
    """Verifies JWTs and remembers those that hold, and for some seconds those that do not."""

    def __init__(self, keys: KeySet, claims: Claims) -> None:
        self._keys = keys
        self._claims = claims
        self._generation = keys.generation
        self._known: dict[bytes, tuple[float, Identity]] = {}
        self._refused: dict[bytes, tuple[float, str]] = {}

    def find(self, digest: bytes) -> Identity | None:
        """Return whose token has this SHA-256, if it was verified before and still holds.

        Raises InvalidCredentials where it did not hold a moment ago.
        """
        if self._generation != self._keys.generation:  # a key may have been withdrawn
            self._generation = self._keys.generation
            self._known.clear()
            self._refused.clear()
        now = time.time()
        known = self._known.get(digest)
        if known is not None:
            if now < known[0]:
                return known[1]
            del self._known[digest]
        refused = self._refused.get(digest)
        if refused is not None:
            if now < refused[0]:
                raise InvalidCredentials(refused[1])
            del self._refused[digest]
        return None

    async def verify(self, token: str, digest: bytes) -> Identity:
        """Verify a token. Raises InvalidCredentials; KeysUnavailable where nobody can tell yet."""
        try:
            until, identity = await self._verify(token)
        except InvalidCredentials as error:
            _remember(self._refused, digest, (time.time() + _REFUSED_FOR, error.why))
            raise
        _remember(self._known, digest, (until, identity))
        return identity

    async def _verify(self, token: str) -> tuple[float, Identity]:
        try:
            header = jwt.get_unverified_header(token)
        except (PyJWTError, RecursionError):  # a header of brackets, to some versions of PyJWT
            raise InvalidCredentials("neither a known token nor a JWT") from None
        keys = await self._keys.find(header.get("kid"))
        if not keys:
            raise InvalidCredentials("signed with an unknown key")
        fitting = [key for key in keys if key.algorithm_name == header.get("alg")]
        if not fitting:
            raise InvalidCredentials("signed by another algorithm than its key's")
        try:
            said = self._said(token, fitting[:_TRIED])
        except (PyJWTError, ValueError, TypeError, RecursionError) as error:
            raise InvalidCredentials(type(error).__name__) from None
        return float(said["exp"]) + self._claims.skew, self._identity(said)

    def _said(self, token: str, keys: Sequence[PyJWK]) -> Mapping[str, Any]:
        """Return the claims of a token that one of the keys has signed. Raises what PyJWT does."""
        *others, last = keys
        for key in others:
            with contextlib.suppress(InvalidSignatureError):
                return self._said_by(token, key)
        return self._said_by(token, last)

    def _said_by(self, token: str, key: PyJWK) -> Mapping[str, Any]:
        said: Mapping[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[key.algorithm_name],
            issuer=self._claims.issuer,
            audience=self._claims.audience,
            leeway=self._claims.skew,
            options={"require": ["exp", "iss", "aud", "sub"]},
        )
        return said

    def _identity(self, said: Mapping[str, Any]) -> Identity:
        try:
            principal = _principal.validate_python(said["sub"])
            tasks = _claim(said, self._claims.tasks)
            return Identity(
                principal,
                frozenset(Role(r) for r in _words(_claim(said, self._claims.roles)) if r in _ROLES),
                None if tasks is None else frozenset(_names.validate_python(tasks)),
            )
        except ValidationError:
            raise InvalidCredentials("a claim cannot be used") from None


_ROLES = frozenset(role.value for role in Role)


def _claim(said: Mapping[str, Any], name: str) -> object:
    """Find a claim by its name, or by a path of names joined by dots."""
    if name in said:
        return said[name]
    found: object = said
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _words(value: object) -> list[str]:
    """Return the roles of a list, or of a text with spaces between them."""
    if value is None:
        return []
    return value.split() if isinstance(value, str) else _names.validate_python(value)


def _remember(known: dict[bytes, Any], digest: bytes, value: object) -> None:
    if len(known) >= _KNOWN_AT_MOST:
        del known[next(iter(known))]  # the oldest
    known[digest] = value
