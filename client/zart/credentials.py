"""What a caller shows of itself, and by what it knows the server."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias
from urllib.parse import unquote

import grpc

from zart.loopback import is_loopback

SYSTEM = "system"
"""As ``ca``: the authorities that gRPC brings along, instead of a file of one's own."""

_TRUE = ("1", "true", "yes", "on")
Stamp: TypeAlias = tuple[tuple[int, int, int] | None, ...]


@dataclass(frozen=True, slots=True)
class Credentials:
    """A token, or a file that holds it; and for TLS, files in PEM.

    With ``ca`` the connection is encrypted and the server's certificate must be signed by one of
    its authorities (``"system"``: the usual ones). ``certificate`` and ``key`` are the caller's
    own, for servers that ask for them. Files may be replaced at any time: what they say is used
    for connections and calls from then on. A token is sent over TLS only, or on loopback, unless
    ``insecure`` says otherwise.
    """

    token: str = field(default="", repr=False)
    token_file: Path | None = None
    ca: Path | str | None = None
    certificate: Path | None = None
    key: Path | None = None
    insecure: bool = False

    def __post_init__(self) -> None:
        if self.token and self.token_file is not None:
            raise ValueError("a token or a file with one: not both (ZART_TOKEN, ZART_TOKEN_FILE)")
        if (self.certificate is None) != (self.key is None):
            raise ValueError("ZART_TLS_CERT and ZART_TLS_KEY go together")
        if self.certificate is not None and self.ca is None:
            raise ValueError(f"ZART_TLS_CERT needs ZART_TLS_CA: a file, or {SYSTEM!r}")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Credentials:
        """Read ZART_TOKEN or ZART_TOKEN_FILE, and ZART_TLS_CA, ZART_TLS_CERT, ZART_TLS_KEY.

        Raises ValueError where they cannot be meant, as a ZART_TLS_CA that is given but blank:
        nothing would be encrypted.
        """
        ca = environment.get("ZART_TLS_CA")
        if ca is not None and not ca.strip():
            raise ValueError(
                f"ZART_TLS_CA is blank: name a file, or {SYSTEM!r}; unset it to do without TLS"
            )
        return cls(
            token=environment.get("ZART_TOKEN", "").strip(),
            token_file=_path(environment, "ZART_TOKEN_FILE"),
            ca=ca,
            certificate=_path(environment, "ZART_TLS_CERT"),
            key=_path(environment, "ZART_TLS_KEY"),
            insecure=environment.get("ZART_INSECURE", "").lower() in _TRUE,
        )

    @classmethod
    def without_token(cls, environment: Mapping[str, str] = os.environ) -> Credentials:
        """Read ZART_TLS_CA, and the certificate that is shown where the server asks for one.

        Never a token: a gateway's calls bring their callers', and one without any must not be lent
        another; and who probes for health needs none. Raises ValueError as ``from_environment``.
        """
        found = {
            name: value
            for name, value in environment.items()
            if name not in ("ZART_TOKEN", "ZART_TOKEN_FILE")
        }
        if not found.get("ZART_TLS_CA"):  # then the certificate is what it listens with, only
            found.pop("ZART_TLS_CERT", None)
            found.pop("ZART_TLS_KEY", None)
        return cls.from_environment(found)

    @property
    def has_token(self) -> bool:
        """True if calls carry a token."""
        return bool(self.token) or self.token_file is not None

    @property
    def is_empty(self) -> bool:
        """True if no credential is shown and nothing is encrypted."""
        return not self.has_token and self.ca is None

    def read_token(self) -> str:
        """Return the token. Raises ValueError where it cannot be read or sent."""
        token = self.token
        if self.token_file is not None:
            token = _read(self.token_file, "ZART_TOKEN_FILE").decode(errors="replace").strip()
        if not token.isascii() or not token.isprintable() or not token:
            raise ValueError("the token is empty or has characters that cannot be sent")
        return token

    def to_grpc(self) -> grpc.ChannelCredentials | None:
        """Read the files of TLS; None: without it. Raises ValueError where one cannot be read."""
        if self.ca is None:
            return None
        return grpc.ssl_channel_credentials(
            None if self.ca == SYSTEM else _read(Path(self.ca), "ZART_TLS_CA"),
            None if self.key is None else _read(self.key, "ZART_TLS_KEY"),
            None if self.certificate is None else _read(self.certificate, "ZART_TLS_CERT"),
        )

    @property
    def is_of_files(self) -> bool:
        """Whether what there is of TLS can be read again: a pipe cannot."""
        given = (self.ca, self.certificate, self.key)
        return all(Path(each).is_file() for each in given if each is not None and each != SYSTEM)

    def check_tls(self) -> None:
        """Raise ValueError where the files of TLS do not fit together, or one is there by half.

        gRPC would find out at a handshake, and only say that nobody can be reached.
        """
        check = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        check.set_ciphers("DEFAULT:@SECLEVEL=0")  # what is too weak is for gRPC to say
        try:
            if self.certificate is not None:
                check.load_cert_chain(self.certificate, self.key, password=_no_password)
            if self.ca not in (None, SYSTEM):
                check.load_verify_locations(self.ca)
        except OSError as error:  # ssl.SSLError is one
            reason = error.reason if isinstance(error, ssl.SSLError) else type(error).__name__
            raise ValueError(f"the files of TLS cannot be used together ({reason})") from None

    def check_address(self, address: str) -> None:
        """Raise ValueError where the token would be sent so that others can read it."""
        if self.has_token and self.ca is None and not self.insecure and not is_local(address):
            raise ValueError(
                f"a token is sent to {address} over TLS only: set ZART_TLS_CA, or ZART_INSECURE=1"
            )

    def tls_stamp(self) -> Stamp:
        """Return what changes with the files of TLS."""
        ca = None if self.ca in (None, SYSTEM) else Path(str(self.ca))
        return stamp_of(ca, self.certificate, self.key)

    def token_stamp(self) -> Stamp:
        """Return what changes with the file of the token."""
        return stamp_of(self.token_file)


def _path(environment: Mapping[str, str], name: str) -> Path | None:
    return Path(environment[name]) if environment.get(name) else None


def _read(path: Path, name: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"{name}: {path} cannot be read ({error.strerror})") from None


def _no_password() -> str:
    """Keep OpenSSL from asking at the terminal."""
    raise ValueError("ZART_TLS_KEY is encrypted")


def stamp_of(*paths: Path | None) -> Stamp:
    """Return what changes when a file is replaced or written to."""
    found: list[tuple[int, int, int] | None] = []
    for path in paths:
        try:
            status = None if path is None else path.stat()
        except OSError:  # gone for a moment, or for good: reading it says so
            status = None
        found.append(
            None if status is None else (status.st_mtime_ns, status.st_size, status.st_ino)
        )
    return tuple(found)


def is_local(address: str) -> bool:
    """Return whether every server of an address is on this machine."""
    scheme, colon, rest = address.partition(":")
    if colon and scheme in ("unix", "unix-abstract"):
        return True
    if colon and scheme in ("dns", "ipv4", "ipv6"):
        address = rest.rpartition("/")[2]
    return all(is_loopback(_host_of(unquote(each))) for each in address.split(","))


def _host_of(target: str) -> str:
    host = target.rpartition(":")[0] if target.count(":") == 1 or "]:" in target else target
    return host.strip("[]")
