"""A real Envoy with the configuration of deploy/, on free ports of loopback."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import yaml
from authority import Authority
from ports import free_port
from waiting import GIVE_UP, block_until

from zart.channel import aio_channel, keepalive_of
from zart.channel import options as options_of
from zart.credentials import Credentials

DEPLOY = Path(__file__).parents[2] / "deploy"
ENVOY = Path(sys.executable).parent / "envoy"


@dataclass(frozen=True, slots=True)
class Edge:
    """A running Envoy: where callers come to, where it is asked about itself."""

    port: int
    admin_port: int
    folder: Path
    process: subprocess.Popen[str]
    authority: Authority

    @property
    def address(self) -> str:
        """Where callers come to."""
        return f"localhost:{self.port}"

    @property
    def reached(self) -> dict[str, Any]:
        """How a dispatcher comes to it."""
        return {"address": self.address, "credentials": Credentials(ca=self.authority.ca)}

    def channel(self, token: str = "") -> grpc.aio.Channel:
        """Open a channel as zart's own client does, with its repeats."""
        return aio_channel(self.address, Credentials(token=token, ca=self.authority.ca))

    def bare_channel(self) -> grpc.aio.Channel:
        """Open a channel that repeats nothing by itself."""
        credentials = grpc.ssl_channel_credentials(self.authority.ca.read_bytes())
        options = [*options_of(keepalive_of(None)), ("grpc.enable_retries", 0)]
        options = [option for option in options if option[0] != "grpc.service_config"]
        return grpc.aio.secure_channel(self.address, credentials, options=options)

    def https(self) -> http.client.HTTPSConnection:
        """Connect as browsers do, with HTTP/1.1."""
        context = ssl.create_default_context(cafile=self.authority.ca)
        return http.client.HTTPSConnection("localhost", self.port, timeout=GIVE_UP, context=context)

    def ask(self, path: str) -> Any:
        """Ask Envoy about itself."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=GIVE_UP)
        with contextlib.closing(connection):
            connection.request("GET", path)
            return json.loads(connection.getresponse().read())

    def healthy(self, cluster: str = "servers") -> set[int]:
        """Return the ports of the servers that calls may go to."""
        return {
            port
            for port, host in self._hosts(cluster).items()
            if host["health_status"] == {"eds_health_status": "HEALTHY"}
        }

    def connections(self, address: str) -> int:
        """Return how many connections for calls are open to a server."""
        host = self._hosts("servers")[int(address.rpartition(":")[2])]
        return sum(int(s.get("value", 0)) for s in host["stats"] if s["name"] == "cx_active")

    def _hosts(self, cluster: str) -> dict[int, Any]:
        clusters = self.ask("/clusters?format=json")["cluster_statuses"]
        (found,) = [c for c in clusters if c["name"] == cluster]
        return {
            host["address"]["socket_address"]["port_value"]: host
            for host in found.get("host_statuses", [])
        }

    def counter(self, name: str) -> int:
        """Return one of its counters."""
        stats = self.ask(f"/stats?format=json&filter=^{name}$")["stats"]
        return sum(stat["value"] for stat in stats)

    def until_healthy(self, ports: set[int], cluster: str = "servers") -> None:
        """Wait until exactly these servers are called."""

        def are_called() -> bool:
            assert self.process.poll() is None, (self.folder / "envoy.log").read_text()
            return self.healthy(cluster) == ports

        block_until(are_called)


Change = Callable[[Any], None]


@contextlib.contextmanager
def edge(
    folder: Path,
    servers: Sequence[str],
    *,
    gateways: Sequence[str] = (),
    change: Change | None = None,
    authority: Authority | None = None,
    https: bool = False,
    is_healthy: bool = True,
) -> Iterator[Edge]:
    """Run Envoy with deploy/envoy.yaml, in which only addresses are replaced.

    ``change`` makes further changes. With an ``authority`` the servers are reached with TLS and
    must have a certificate of it; with ``https`` gateways likewise.
    """
    shutil.copy(DEPLOY / "certificate.yaml", folder)
    source = (DEPLOY / "envoy.yaml").read_text()
    for mark, is_wanted in (("#tls ", authority is not None), ("#https ", https)):
        source = source.replace(mark, "") if is_wanted else source
    config = yaml.safe_load(source)
    authority = authority or Authority(folder / "authority")
    write_certificate(folder / "tls", authority)
    port, admin_port = free_port(), free_port()
    (listener,) = config["static_resources"]["listeners"]
    listener["address"] = _address("127.0.0.1", port)
    config["admin"]["address"] = _address("127.0.0.1", admin_port)
    for name, addresses in (("servers", servers), ("gateways", gateways)):
        _set_endpoints(config, name, addresses)
    if change is not None:
        change(config)
    (folder / "envoy.yaml").write_text(yaml.safe_dump(config))
    with (folder / "envoy.log").open("w") as log:
        process = subprocess.Popen(
            [str(ENVOY), "-c", "envoy.yaml", "--disable-hot-restart", "--concurrency", "2",
             "--log-level", "warning"],
            cwd=folder, stdout=log, stderr=log, text=True,
        )  # fmt: skip
    running = Edge(port, admin_port, folder, process, authority)
    try:
        _await_ready(running)
        if is_healthy:
            running.until_healthy({int(address.rpartition(":")[2]) for address in servers})
        yield running
    finally:
        process.terminate()
        process.wait(GIVE_UP)


def write_certificate(folder: Path, authority: Authority) -> None:
    """Put a new certificate where Envoy reads it, as a mounted secret is: both files at once."""
    version = folder / f"..{time.monotonic_ns()}"
    version.mkdir(parents=True)
    certificate, key = authority.issue("edge", "zart edge")
    shutil.copy(authority.ca, version / "ca.crt")
    shutil.copy(certificate, version / "tls.crt")
    shutil.copy(key, version / "tls.key")
    for file in version.iterdir():
        with contextlib.suppress(FileExistsError):
            (folder / file.name).symlink_to(f"..data/{file.name}")
    (folder / "..new").symlink_to(version.name)
    (folder / "..new").rename(folder / "..data")


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}


def _set_endpoints(config: Any, cluster: str, addresses: Sequence[str]) -> None:
    (found,) = [c for c in config["static_resources"]["clusters"] if c["name"] == cluster]
    endpoints = []
    for address in addresses:
        host, _, port = address.rpartition(":")
        endpoints.append({"endpoint": {"address": _address(host, int(port))}})
    found["load_assignment"]["endpoints"] = [{"lb_endpoints": endpoints}]


def _await_ready(running: Edge) -> None:
    def is_ready() -> bool:
        assert running.process.poll() is None, (running.folder / "envoy.log").read_text()
        # It listens before it can answer, and a connection of that moment may be reset.
        with contextlib.suppress(OSError, http.client.HTTPException):
            return bool(running.ask("/server_info")["state"] == "LIVE")
        return False

    block_until(is_ready)
