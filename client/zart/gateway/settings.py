"""What can be set of a gateway, checked before it starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from zart import listening
from zart.credentials import Credentials
from zart.loopback import is_loopback

DEFAULT_LISTEN = "127.0.0.1:8080"


class GatewayError(Exception):
    """The gateway cannot start; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one gateway. Raises GatewayError where they cannot be right.

    ``listen`` is HOST:PORT, port 0 takes a free one; ``address`` is the server's (None: that of
    the environment). ``timeout`` is how many seconds a call may take, watches excepted;
    ``max_calls`` how many may be under way at once. ``hosts`` are names, besides those of loopback,
    by which it may be called ("*": any). ``patience`` is how many seconds it waits for the head of
    a request, and for its body beyond what the size allows. ``tls_cert`` and ``tls_key`` are files
    in PEM; with ``tls_client_ca`` callers must have certificates that it signed. ``credentials``
    are for the server, never with a token of the gateway's own. ``metrics_listen`` is HOST:PORT
    where Prometheus reads metrics (None: nowhere).
    """

    listen: str = DEFAULT_LISTEN
    address: str | None = None
    timeout: float = 30.0
    max_calls: int = 512
    hosts: Sequence[str] = ()
    patience: float = 10.0
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    credentials: Credentials = field(default_factory=Credentials)
    insecure: bool = False
    metrics_listen: str | None = None

    def __post_init__(self) -> None:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise GatewayError("ZART_TLS_CERT and ZART_TLS_KEY go together")
        if self.tls_client_ca is not None and self.tls_cert is None:
            raise GatewayError("ZART_TLS_CLIENT_CA needs ZART_TLS_CERT and ZART_TLS_KEY")
        if self.must_be_guarded and self.tls_cert is None:
            raise GatewayError(
                f"refusing to listen on {self.listen} without TLS and authentication: set"
                " ZART_TLS_CERT and ZART_TLS_KEY, or ZART_INSECURE=1 to do so all the same"
            )

    @property
    def must_be_guarded(self) -> bool:
        """True if other machines can reach it, and ``insecure`` does not allow that."""
        host, _ = host_and_port(self.listen)
        return not self.insecure and not is_loopback(host)


def host_and_port(listen: str) -> tuple[str, int]:
    """Split HOST:PORT. Raises GatewayError."""
    try:
        return listening.host_and_port(listen)
    except ValueError:
        raise GatewayError(
            f"the gateway's address must be HOST:PORT, such as {DEFAULT_LISTEN}, not {listen!r}"
        ) from None


def host_of(text: str) -> str:
    """Return the name in HOST or HOST:PORT as it is compared."""
    if text.startswith("["):
        name = text[1:].partition("]")[0]
    else:
        name = text.partition(":")[0] if text.count(":") == 1 else text
    return name.lower().removesuffix(".")
