"""The server's certificate: read anew when its files change, for connections made from then on."""

from __future__ import annotations

import logging
import ssl
import threading
from pathlib import Path

import grpc

from zart.validity import ends_at
from zart_server.stamp import Stamp, stamp_of

_log = logging.getLogger(__name__)


class TlsError(Exception):
    """The files cannot be used; the message says which and why."""


class Certificate:
    """A certificate chain, its key, and whom callers' certificates must be signed by.

    ``client_ca`` None: callers are not asked for one. Raises TlsError.
    """

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None) -> None:
        self._certificate = certificate
        self._key = key
        self._client_ca = client_ca
        self._files = [certificate, key, *([client_ca] if client_ca else [])]
        self._lock = threading.Lock()  # handshakes are in gRPC's own threads
        self._stamp = stamp_of(*self._files)
        self._failed: Stamp | None = None  # of what could not be used, to say so once
        self._ends_at: float | None = None
        self._first = self._read()
        self._next: grpc.ServerCertificateConfiguration | None = None  # read, and not fetched yet

    def credentials(self) -> grpc.ServerCredentials:
        """Return what a port is opened with; it asks for the certificate at each handshake."""
        return grpc.dynamic_ssl_server_credentials(
            self._first,
            self._fetch,  # type: ignore[arg-type]  # None is a documented answer
            require_client_authentication=self._client_ca is not None,
        )

    def reread(self) -> None:
        """Read the files now, whether or not they seem to have changed."""
        with self._lock:
            self._refresh(anew=True)

    def ends_at(self) -> float | None:
        """Return when what the next connection is shown ends, in seconds since 1970.

        None: it cannot be read. The files are looked at first, for nobody may have connected.
        """
        with self._lock:
            self._refresh(anew=False)
            return self._ends_at

    def is_stale(self) -> bool:
        """Return whether the files cannot be used as they are; they are looked at first, too."""
        with self._lock:
            self._refresh(anew=False)
            return self._failed is not None

    def _fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """Return a new configuration, None to stay with the last."""
        with self._lock:
            self._refresh(anew=False)
            found, self._next = self._next, None
            return found

    def _refresh(self, *, anew: bool) -> None:
        """Read the files if they changed, or ``anew``; what cannot be used changes nothing.

        Perhaps only half of it is there yet: it is looked at again at the next handshake.
        """
        stamp = stamp_of(*self._files)
        if stamp == self._stamp and not anew:
            return
        try:
            self._next = self._read()
        except TlsError as error:
            if anew or stamp != self._failed:
                _log.error("the certificate stays as it was: %s", error)
            self._stamp, self._failed = (), stamp
        else:
            self._stamp, self._failed = stamp, None
            _log.info("the certificate was read anew")

    def _read(self) -> grpc.ServerCertificateConfiguration:
        try:
            # gRPC would find out only at a handshake, and say so to nobody.
            check = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            check.load_cert_chain(self._certificate, self._key, password=_no_password)
            ca = None
            if self._client_ca is not None:
                check.load_verify_locations(self._client_ca)
                ca = self._client_ca.read_bytes()
            pair = self._key.read_bytes(), self._certificate.read_bytes()
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            files = ", ".join(map(str, self._files))
            reason = error.reason if isinstance(error, ssl.SSLError) else type(error).__name__
            raise TlsError(f"{files} cannot be used together ({reason})") from None
        self._ends_at = ends_at(pair[1])
        return grpc.ssl_server_certificate_configuration([pair], root_certificates=ca)


def _no_password() -> str:
    """Keep OpenSSL from asking at the terminal."""
    raise ValueError("the key is encrypted")
