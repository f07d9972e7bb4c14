"""Finds out who calls, from whatever the call brings."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from zart_server.domain.errors import InvalidCredentials, MissingCredentials
from zart_server.domain.identity import Identity
from zart_server.identity.certificates import Certificates
from zart_server.identity.grants import GrantFile
from zart_server.identity.key_set import KeySet
from zart_server.identity.static_tokens import StaticTokens
from zart_server.identity.web_tokens import WebTokens

_log = logging.getLogger(__name__)
_SCHEME = "bearer "
_LOOK_EVERY = 1.0  # seconds between two looks at the files


class Authenticator:
    """Knows callers by static token, JWT or client certificate, whichever are set up."""

    def __init__(
        self,
        tokens: StaticTokens | None,
        keys: KeySet | None,
        web_tokens: WebTokens | None,
        certificates: Certificates | None,
    ) -> None:
        self._tokens = tokens
        self._keys = keys
        self._web_tokens = web_tokens
        self._certificates = certificates
        self._reread = asyncio.Event()

    @property
    def asks_for_certificates(self) -> bool:
        """True if client certificates identify callers."""
        return self._certificates is not None

    @property
    def can_judge(self) -> bool:
        """False until the keys of a URL were there once: no JWT can be judged before."""
        return self._keys is None or self._keys.are_there.is_set()

    @property
    def followed(self) -> Mapping[str, GrantFile[Any] | KeySet]:
        """What is read anew when it changes, of what is set up."""
        every = {"tokens": self._tokens, "certificates": self._certificates, "keys": self._keys}
        return {name: each for name, each in every.items() if each is not None}

    @property
    def missing(self) -> Mapping[str, Callable[[], bool]]:
        """What may be missing since the server began, of what is set up: asked when it is told."""
        return {} if self._keys is None else {"keys": lambda: not self.can_judge}

    async def until_able(self) -> None:
        """Wait until callers can be judged, which then stays so."""
        if self._keys is not None:
            await self._keys.are_there.wait()

    async def identify(self, authorization: str | None, certificate: Sequence[str]) -> Identity:
        """Return who sends this Authorization header, or else has a certificate of these names.

        Raises MissingCredentials, InvalidCredentials or KeysUnavailable. A header that does not
        hold is refused whatever the certificate says: it was sent to be believed. An empty one is
        a gateway's word that its caller brought nothing: the certificate is the gateway's.
        """
        if authorization == "":
            raise MissingCredentials
        if authorization is not None:
            return await self._of_header(authorization)
        if self._certificates is not None and certificate:
            found = self._certificates.find(certificate)
            if found is None:
                raise InvalidCredentials("no name of the certificate is known")
            return found
        raise MissingCredentials

    async def _of_header(self, authorization: str) -> Identity:
        if authorization[: len(_SCHEME)].lower() != _SCHEME:
            raise InvalidCredentials("no bearer token")
        token = authorization[len(_SCHEME) :].strip()
        digest = hashlib.sha256(token.encode()).digest()
        if self._tokens is not None and (found := self._tokens.find(digest)) is not None:
            return found
        if self._web_tokens is None:
            raise InvalidCredentials("not a known token")
        known = self._web_tokens.find(digest)
        return known if known is not None else await self._web_tokens.verify(token, digest)

    async def keep_fresh(self) -> None:
        """Follow the files and the URL, until cancelled."""
        while True:
            anew = self._reread.is_set()
            self._reread.clear()
            try:
                for file in (self._tokens, self._certificates):
                    if file is not None:
                        file.refresh(anew=anew)
                if self._keys is not None:
                    await self._keys.refresh(anew=anew)
            except Exception:  # noqa: BLE001 - told in full; it must go on
                _log.exception("identities could not be read anew")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_EVERY):
                    await self._reread.wait()

    def reread(self) -> None:
        """Read the files and ask the URL now, whether or not they seem to have changed."""
        self._reread.set()
