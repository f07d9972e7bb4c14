"""The gateway's certificate: read anew when its files change, for connections made from then on."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from pathlib import Path

from zart.credentials import stamp_of
from zart.gateway.settings import GatewayError, Settings

_log = logging.getLogger("zart.gateway")
_LOOK_EVERY = 1.0  # seconds


class Certificate:
    """A chain and its key, in the context that connections are accepted with.

    Raises GatewayError where the files cannot be used.
    """

    def __init__(self, chain: Path, key: Path, client_ca: Path | None) -> None:
        self._chain = chain
        self._key = key
        self._stamp = stamp_of(chain, key)
        self._reread = asyncio.Event()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._load(self.context)
        if client_ca is not None:
            try:
                self.context.load_verify_locations(client_ca)
            except OSError as error:
                raise GatewayError(f"{client_ca} cannot be used ({_why(error)})") from None
            self.context.verify_mode = ssl.CERT_REQUIRED

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
            stamp = stamp_of(self._chain, self._key)
            if stamp == self._stamp and not self._reread.is_set():
                continue
            self._reread.clear()
            try:
                # Half of it may be there: looked at by itself before it counts.
                self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
                self._load(self.context)
            except GatewayError as error:
                _log.error("the certificate stays as it was: %s", error)
            else:
                _log.info("the certificate was read anew")
            self._stamp = stamp

    def reread(self) -> None:
        """Read the files now, whether or not they seem to have changed."""
        self._reread.set()

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
