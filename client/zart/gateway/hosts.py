"""By which names a gateway may be called.

A page of another site can have its own name point at this machine (DNS rebinding): what a browser
then sends comes from that very site, so no rule about origins keeps it out. Its name does.
"""

from __future__ import annotations

import ipaddress
import time
from typing import TYPE_CHECKING

from google.rpc import code_pb2
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from zart.gateway.settings import Settings, host_of
from zart.gateway.statuses import refusal, response_of
from zart.gateway.telling import tell_unserved
from zart.loopback import is_loopback

if TYPE_CHECKING:
    from zart.gateway.metrics import OfTheGateway

ANY = "*"


class OnlyKnownHosts:
    """Refuses requests whose Host is none of the gateway's names. ``requests`` counts them."""

    def __init__(
        self, app: ASGIApp, settings: Settings, requests: OfTheGateway | None = None
    ) -> None:
        self._app = app
        self._requests = requests
        self._names = {host_of(name) for name in settings.hosts}
        listens_on = host_of(settings.listen)
        self._is_reachable = not is_loopback(listens_on)
        if self._is_reachable:
            self._names.add(listens_on)
        # A page of another site has no certificate of the gateway's name.
        self._takes_any = ANY in settings.hosts or (
            self._is_reachable and settings.tls_cert is not None and not settings.hosts
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        host = Headers(scope=scope).get("host") if scope["type"] == "http" else None
        # Without a Host (HTTP/1.0) it is no browser's; and who only asks whether it is up, as load
        # balancers do by names of their own, learns nothing else.
        is_harmless = host is None or scope["path"] == "/healthz"
        if is_harmless or self._takes_any or self._is_known(host_of(str(host))):
            await self._app(scope, receive, send)
            return
        begun = time.monotonic()
        told = refusal(
            code_pb2.PERMISSION_DENIED,
            f"the host {str(host)[:255]!r} is not one of this gateway's: call it by localhost, or"
            " name the host in ZART_GATEWAY_HOSTS",
        )
        response = response_of(told.status)
        await response(scope, receive, send)
        tell_unserved(self._requests, scope, response.status_code, begun)

    def _is_known(self, name: str) -> bool:
        if name in self._names or is_loopback(name) or name.endswith(".localhost"):
            return True
        # An address is nobody's name: it cannot be made to point elsewhere.
        return self._is_reachable and _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
