"""The gateway's certificate: read anew when its files change, for connections made from then on.

Each reading makes a context of its own, and a connection begins with that of the last one: one
context keeps a certificate for each kind of key, and would go on with the old one of another kind.
It also keeps what TLS sessions are resumed by, and who resumes one shows no certificate: a session
ends with the context that it was made in, so nobody is let in whom only former authorities signed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from pathlib import Path

from zart.credentials import Stamp, stamp_of
from zart.gateway.settings import GatewayError, Settings
from zart.validity import ends_at

_log = logging.getLogger("zart.gateway")
_LOOK_EVERY = 1.0  # seconds


class _Newest(ssl.SSLContext):
    """Has each connection begin with the context that was made last; is no other's."""

    made_last: ssl.SSLContext

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,  # noqa: FBT001, FBT002 - as the base class has it
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """Begin a connection; asyncio does it for each."""
        return self.made_last.wrap_bio(incoming, outgoing, server_side, server_hostname, session)


class Certificate:
    """A chain, its key and whom callers' own must be signed by, in the ``context`` to accept with.

    Raises GatewayError where the files cannot be used.
    """

    def __init__(self, chain: Path, key: Path, client_ca: Path | None) -> None:
        self._chain = chain
        self._key = key
        self._client_ca = client_ca
        self._stamp = stamp_of(chain, key, client_ca)
        self._failed: Stamp | None = None  # of what could not be used, to say so once
        self._ends_at: float | None = None
        self._reread = asyncio.Event()
        self.context = _Newest(ssl.PROTOCOL_TLS_SERVER)
        self.context.made_last = self._make()

    @classmethod
    def of(cls, settings: Settings) -> Certificate | None:
        """Read what the settings name; None: without TLS."""
        if settings.tls_cert is None or settings.tls_key is None:
            return None
        return cls(settings.tls_cert, settings.tls_key, settings.tls_client_ca)

    async def follow(self) -> None:
        """Follow the files until cancelled; what cannot be used changes nothing."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_EVERY):
                    await self._reread.wait()
            stamp = stamp_of(self._chain, self._key, self._client_ca)
            if stamp == self._stamp and not self._reread.is_set():
                continue
            anew = self._reread.is_set()
            self._reread.clear()
            try:
                self.context.made_last = self._make()
            except GatewayError as error:
                # Half of it may be there, or a file not be readable yet: tried at the next look.
                if anew or stamp != self._failed:
                    _log.error("the certificate stays as it was: %s", error)
                self._stamp, self._failed = (), stamp
            else:
                self._stamp, self._failed = stamp, None
                _log.info("the certificate was read anew")

    def ends_at(self) -> float | None:
        """Return when what is served ends, in seconds since 1970; None: it cannot be read."""
        return self._ends_at

    def is_stale(self) -> bool:
        """Return whether the files could not be used at the last look."""
        return self._failed is not None

    def reread(self) -> None:
        """Read the files now, whether or not they seem to have changed."""
        self._reread.set()

    def _make(self) -> ssl.SSLContext:
        """Read the files into a context of their own. Raises GatewayError."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._load(context)
        if self._client_ca is not None:
            try:
                context.load_verify_locations(self._client_ca)
            except OSError as error:
                raise GatewayError(f"{self._client_ca} cannot be used ({_why(error)})") from None
            context.verify_mode = ssl.CERT_REQUIRED
        with contextlib.suppress(OSError):  # it is gone again
            self._ends_at = ends_at(self._chain.read_bytes())
        return context

    def _load(self, context: ssl.SSLContext) -> None:
        try:
            context.load_cert_chain(self._chain, self._key, password=_no_password)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            files = f"{self._chain} and {self._key}"
            raise GatewayError(f"{files} cannot be used together ({_why(error)})") from None


def _why(error: Exception) -> str:
    return error.reason if isinstance(error, ssl.SSLError) else type(error).__name__


def _no_password() -> str:
    """Keep OpenSSL from asking at the terminal."""
    raise ValueError("the key is encrypted")
