"""Asks processes of zart whether they can serve, as a probe does: once, without credentials."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from zart.bare_health import says_serving
from zart.closing import close_channel
from zart.credentials import SYSTEM, Credentials, is_local
from zart.handshakes import ended_at, one_place_of, speaks_tls, unverified

_OK = 200
_PORTS = {"http": 80, "https": 443}
_SAID = 500  # bytes of why not, which is a line
_Place = tuple[str, int]


class NotServing(Exception):
    """A process cannot serve, or did not say that it can; the message says why.

    ``in_time``: it, or the system, said so; else nobody did. ``is_cut``: the connection came to
    nothing before the process had answered.
    """

    def __init__(self, why: str, *, in_time: bool = True, is_cut: bool = False) -> None:
        super().__init__(why)
        self.in_time = in_time
        self.is_cut = is_cut


@dataclass(frozen=True, slots=True)
class Probe:
    """How a process is asked.

    ``credentials`` say by which authorities its certificate is known, if it speaks TLS, and which
    one it is shown if it asks; ``server_name`` is the name in its certificate where it is not that
    of the address; ``timeout`` in seconds is for all of it.

    A certificate and a key that do not fit together are not shown. Beside the process they are its
    own, which goes on with what it had, and most ask for none.
    """

    credentials: Credentials
    server_name: str | None = None
    timeout: float = 3.0

    def over_grpc(self, address: str, services: Sequence[str]) -> None:
        """Ask gRPC's health service about each of ``services``. Raises NotServing."""
        deadline = time.monotonic() + self.timeout
        shown, lacking = self._shown()
        channel = self._channel(address, shown)
        try:
            health = health_pb2_grpc.HealthStub(channel)
            for service in services:
                try:
                    request = health_pb2.HealthCheckRequest(service=service)
                    answer = health.Check(request, timeout=deadline - time.monotonic())
                except grpc.RpcError as error:
                    raise self._not_serving(error, lacking) from None
                if answer.status != health_pb2.HealthCheckResponse.SERVING:
                    status = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
                    raise NotServing(f"{service or 'the process'} is {status}")
        finally:
            close_channel(channel)

    def over_http(self, url: str) -> None:
        """Get a URL of http or https. Raises NotServing unless the answer is a 200."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme)
        except ValueError as error:
            raise NotServing(f"{url} cannot be asked: {error}") from None
        if parts.scheme not in _PORTS:
            raise NotServing(f"{url} cannot be asked: it is neither http nor https")
        deadline = time.monotonic() + self.timeout
        shown, lacking = self._shown() if parts.scheme == "https" else (self.credentials, "")
        is_cut = False
        connection = http.client.HTTPConnection(host, port, timeout=self.timeout)
        try:
            with (
                socket.create_connection((host, port), self.timeout) as plain,
                ended_at(deadline, plain),
            ):
                is_plain = parts.scheme == "http"
                connection.sock = plain if is_plain else self._encrypted(plain, host, shown)
                why = _why_not(connection, parts.path)
        except (OSError, http.client.HTTPException, UnicodeError) as error:  # no name of a host
            why, is_cut = f"{error}{lacking}", isinstance(error, OSError)
        finally:
            connection.close()
        if time.monotonic() >= deadline:
            raise NotServing(self._late, in_time=False)
        if why:
            raise NotServing(why, is_cut=is_cut)

    def live_over_grpc(self, address: str) -> None:
        """Ask gRPC's health service whether the process is up. Raises NotServing.

        Up is also who answers by TLS where only the certificates are in the way: expired, of
        another name or authority, or wanted of us. No restart cures that. Then it is asked once
        more without a look at its own; of one that does not take ours only the handshake is known.
        """

        def ask(connection: ssl.SSLSocket) -> str:
            host = str(connection.server_hostname)
            return "" if says_serving(connection, host) else "the process is not SERVING"

        place = None if self.credentials.ca is None else one_place_of(address)
        with self._but_for_certificates(place, "h2", ask):
            self.over_grpc(address, [""])

    def live_over_http(self, url: str) -> None:
        """Get a URL of what is up if it answers. Raises NotServing, as ``live_over_grpc``."""
        host, port, path = "", 0, ""
        with contextlib.suppress(ValueError):  # told when it is asked
            parts = urlsplit(url)
            if parts.scheme == "https" and parts.hostname:
                host, port, path = parts.hostname, parts.port or _PORTS["https"], parts.path

        def ask(connection: ssl.SSLSocket) -> str:
            with contextlib.closing(http.client.HTTPConnection(host, port)) as by_http:
                by_http.sock = connection
                return _why_not(by_http, path)

        with self._but_for_certificates((host, port) if host else None, "http/1.1", ask):
            self.over_http(url)

    @contextlib.contextmanager
    def _but_for_certificates(
        self, place: _Place | None, protocol: str, ask: Callable[[ssl.SSLSocket], str]
    ) -> Iterator[None]:
        """Pass over what fails by certificates only. ``place``: where TLS is spoken, if it is.

        ``ask`` asks over a connection of this protocol, and says why not. Who takes connections and
        shakes no hands hangs: that is not passed over, nor is what was asked, and not answered.
        """
        deadline = time.monotonic() + self.timeout
        try:
            yield
        except (NotServing, ValueError) as error:  # the latter: a file that cannot be read
            is_cut = error.is_cut if isinstance(error, NotServing) else True
            left = deadline - time.monotonic()
            if not is_cut or place is None or left <= 0 or not speaks_tls(*place, left):
                raise
            why = self._asked_unverified(place, protocol, ask, deadline)
            if time.monotonic() >= deadline:
                raise NotServing(self._late, in_time=False) from None
            if why:
                raise NotServing(
                    f"{error}; asked without a look at its certificate: {why}"
                ) from None

    def _asked_unverified(
        self,
        place: _Place,
        protocol: str,
        ask: Callable[[ssl.SSLSocket], str],
        deadline: float,
    ) -> str:
        """Ask whoever is there; gives why not. Empty as well: it does not take what it is shown.

        By TLS 1.2, whose handshake fails then: in 1.3 hands are shaken before it looks at ours, and
        that it closes the connection thereafter may be for that, or because it answers nobody.
        """
        try:
            context = unverified(protocol)
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            context.set_ciphers("DEFAULT:@SECLEVEL=0")  # no restart cures what is too weak, either
            shown, _ = self._shown()
            if shown.certificate is not None:
                context.load_cert_chain(shown.certificate, shown.key)
            left = max(deadline - time.monotonic(), 0.001)
            with socket.create_connection(place, left) as plain, ended_at(deadline, plain):
                try:
                    connection = context.wrap_socket(
                        plain, server_hostname=self.server_name or place[0]
                    )
                except OSError:
                    return ""
                with connection:
                    return ask(connection)
        except (OSError, http.client.HTTPException, ValueError) as error:
            return str(error) or type(error).__name__

    @property
    def _late(self) -> str:
        return f"no answer within {self.timeout:g} s"

    def _not_serving(self, error: grpc.RpcError, lacking: str) -> NotServing:
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            return NotServing(self._late, in_time=False)
        # A server's own answer has details with it.
        is_cut = error.code() is grpc.StatusCode.UNAVAILABLE and not error.trailing_metadata()
        why = f"{error.code().name}: {error.details()}"
        return NotServing(f"{why}{lacking if is_cut else ''}", is_cut=is_cut)

    def _shown(self) -> tuple[Credentials, str]:
        """Return what the process is shown, and a remark on what it is not shown, and why."""
        if self.credentials.certificate is not None:
            try:
                replace(self.credentials, ca=SYSTEM).check_tls()  # the pair alone
            except ValueError as error:
                without = replace(self.credentials, certificate=None, key=None)
                return without, f"; no certificate was shown, for {error}"
        return self.credentials, ""

    def _channel(self, address: str, shown: Credentials) -> grpc.Channel:
        # Who probes, repeats, and probes this very process.
        options: list[tuple[str, int | str]] = [("grpc.enable_retries", 0)]
        if is_local(address):
            options.append(("grpc.enable_http_proxy", 0))
        tls = shown.to_grpc()
        if tls is None:
            return grpc.insecure_channel(address, options)
        if self.server_name:
            options.append(("grpc.ssl_target_name_override", self.server_name))
        return grpc.secure_channel(address, tls, options)

    def _encrypted(self, plain: socket.socket, host: str, shown: Credentials) -> ssl.SSLSocket:
        ca = None if shown.ca in (None, SYSTEM) else str(shown.ca)
        context = ssl.create_default_context(cafile=ca)
        if shown.certificate is not None:
            context.load_cert_chain(shown.certificate, shown.key)
        return context.wrap_socket(plain, server_hostname=self.server_name or host)


def _why_not(connection: http.client.HTTPConnection, path: str) -> str:
    """Get a path; gives what is answered unless it is a 200."""
    connection.request("GET", path)
    answer = connection.getresponse()
    said = answer.read(_SAID).decode(errors="replace").strip()
    return "" if answer.status == _OK else f"{answer.status} {said}"
