"""Static tokens: the server knows their hashes only.

A token has 256 random bits (``zart token``), so there is nothing to guess that a slow, salted hash
would protect: plain SHA-256 cannot be inverted, and is cheap enough to be taken on every call.
"""

from __future__ import annotations

import hmac
from pathlib import Path
from typing import Annotated

from pydantic import Field

from zart_server.domain.identity import Identity
from zart_server.identity.grants import Grant, GrantFile


class _Token(Grant):
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class StaticTokens(GrantFile[_Token]):
    """The tokens of a file. Raises IdentityFileError where it cannot be used."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, _Token)

    def learn(self, grants: list[_Token]) -> None:
        """Know these tokens and no others."""
        self.check_unique([grant.sha256 for grant in grants])
        digests = [bytes.fromhex(grant.sha256) for grant in grants]
        self._known = {
            digest: (digest, grant.to_identity())
            for digest, grant in zip(digests, grants, strict=True)
        }

    def find(self, digest: bytes) -> Identity | None:
        """Return whose token has this SHA-256.

        Found by the hash, of which a caller cannot choose a part: how long a look-up takes says
        nothing of any token.
        """
        known = self._known.get(digest)
        return known[1] if known is not None and hmac.compare_digest(known[0], digest) else None
