"""Asks processes of zart whether they can serve, as a probe does: once, without credentials."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from zart.closing import close_channel
from zart.credentials import SYSTEM, Credentials, is_local

_OK = 200
_PORTS = {"http": 80, "https": 443}
_SAID = 500  # bytes of why not, which is a line


class NotServing(Exception):
    """A process cannot serve, or did not say that it can; the message says why.

    ``in_time``: it, or the system, said so; else nobody did.
    """

    def __init__(self, why: str, *, in_time: bool = True) -> None:
        super().__init__(why)
        self.in_time = in_time


@dataclass(frozen=True, slots=True)
class Probe:
    """How a process is asked.

    ``credentials`` say by which authorities its certificate is known, if it speaks TLS;
    ``server_name`` is the name in that certificate where it is not that of the address; ``timeout``
    in seconds is for all of it.
    """

    credentials: Credentials
    server_name: str | None = None
    timeout: float = 3.0

    def over_grpc(self, address: str, services: Sequence[str]) -> None:
        """Ask gRPC's health service about each of ``services``. Raises NotServing."""
        deadline = time.monotonic() + self.timeout
        channel = self._channel(address)
        try:
            health = health_pb2_grpc.HealthStub(channel)
            for service in services:
                try:
                    request = health_pb2.HealthCheckRequest(service=service)
                    answer = health.Check(request, timeout=deadline - time.monotonic())
                except grpc.RpcError as error:
                    raise self._not_serving(error) from None
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
        connection = http.client.HTTPConnection(host, port, timeout=self.timeout)
        try:
            with (
                socket.create_connection((host, port), self.timeout) as plain,
                _ended_at(deadline, plain),
            ):
                connection.sock = self._encrypted(plain, host) if parts.scheme == "https" else plain
                connection.request("GET", parts.path)
                answer = connection.getresponse()
                said = answer.read(_SAID).decode(errors="replace").strip()
        except (OSError, http.client.HTTPException, UnicodeError) as error:  # no name of a host
            why = str(error)
        else:
            why = "" if answer.status == _OK else f"{answer.status} {said}"
        finally:
            connection.close()
        if time.monotonic() >= deadline:
            raise NotServing(self._late, in_time=False)
        if why:
            raise NotServing(why)

    @property
    def _late(self) -> str:
        return f"no answer within {self.timeout:g} s"

    def _not_serving(self, error: grpc.RpcError) -> NotServing:
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            return NotServing(self._late, in_time=False)
        return NotServing(f"{error.code().name}: {error.details()}")

    def _channel(self, address: str) -> grpc.Channel:
        # Who probes, repeats, and probes this very process.
        options: list[tuple[str, int | str]] = [("grpc.enable_retries", 0)]
        if is_local(address):
            options.append(("grpc.enable_http_proxy", 0))
        tls = self.credentials.to_grpc()
        if tls is None:
            return grpc.insecure_channel(address, options)
        if self.server_name:
            options.append(("grpc.ssl_target_name_override", self.server_name))
        return grpc.secure_channel(address, tls, options)

    def _encrypted(self, plain: socket.socket, host: str) -> ssl.SSLSocket:
        shown = self.credentials
        ca = None if shown.ca in (None, SYSTEM) else str(shown.ca)
        context = ssl.create_default_context(cafile=ca)
        if shown.certificate is not None:
            context.load_cert_chain(shown.certificate, shown.key)
        return context.wrap_socket(plain, server_hostname=self.server_name or host)


@contextlib.contextmanager
def _ended_at(deadline: float, connection: socket.socket) -> Iterator[None]:
    """End a connection at a time, whatever is being done with it: a byte a second is no answer."""
    with connection.dup() as same:  # TLS takes the first one over

        def end() -> None:
            with contextlib.suppress(OSError):  # the other side has ended it
                same.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(deadline - time.monotonic(), end)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()
