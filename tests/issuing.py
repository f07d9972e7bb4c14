"""Static tokens and JWTs for tests, made as operators and identity providers make them."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

import zart

Connect = Callable[[str], zart.Client]
ISSUER = "https://issuer.example"
AUDIENCE = "zart"


@dataclass
class TokenFile:
    """A file of static tokens."""

    path: Path
    _lines: list[str] = field(default_factory=list)

    def add(self, name: str, *roles: str, tasks: Sequence[str] | None = None) -> str:
        """Add a token, named as its principal is, and give it."""
        token = f"zart_token-of-{name}"
        grant: dict[str, Any] = {"name": name, "roles": roles}
        if tasks is not None:
            grant["tasks"] = tasks
        grant["sha256"] = hashlib.sha256(token.encode()).hexdigest()
        self._lines.append(json.dumps(grant))
        self.write()
        return token

    def write(self) -> None:
        """Write the file, as editors do: beside it, then into its place."""
        beside = self.path.with_suffix(".new")
        beside.write_text("# for tests\n\n" + "\n".join(self._lines) + "\n")
        beside.replace(self.path)

    def remove(self, name: str) -> None:
        """Remove a principal's tokens."""
        self._lines = [line for line in self._lines if json.loads(line)["name"] != name]
        self.write()


@dataclass
class Issuer:
    """An identity provider with one key, of an id or of none; ``jwks`` is what it publishes."""

    key_id: str | None = "k1"

    def __post_init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())

    @property
    def jwk(self) -> dict[str, Any]:
        """The public key."""
        public = json.loads(ECAlgorithm.to_jwk(self.key.public_key()))
        return {**public, **self._named, "use": "sig", "alg": "ES256"}

    @property
    def jwks(self) -> dict[str, Any]:
        """The set of public keys."""
        return {"keys": [self.jwk]}

    def sign(self, subject: str = "alice", *roles: str, **claims: Any) -> str:
        """Return a token that holds, unless ``claims`` say otherwise; None leaves one out."""
        now = int(time.time())
        said = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": subject,
            "exp": now + 3600,
            "iat": now,
            "roles": list(roles),
            **claims,
        }
        return jwt.encode(
            {name: value for name, value in said.items() if value is not None},
            self.key,
            algorithm="ES256",
            headers=self._named,
        )

    @property
    def _named(self) -> dict[str, Any]:
        return {} if self.key_id is None else {"kid": self.key_id}
