"""An identity provider's host, which publishes its keys for as long as it has any."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any


class Provider(HTTPServer):
    """Publishes keys, and counts how often it was asked; without a ``document`` it says 503."""

    def __init__(self, document: dict[str, Any] | None) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.document = document
        self.asked = 0
        self.url = f"http://127.0.0.1:{self.server_address[1]}/keys"


class _Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        provider = self.server
        assert isinstance(provider, Provider)
        provider.asked += 1
        body = json.dumps(provider.document).encode()
        self.send_response(200 if provider.document else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's
        """Say nothing."""


@contextmanager
def providing(document: dict[str, Any] | None) -> Iterator[Provider]:
    """Run one until the context is left."""
    made = Provider(document)
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    try:
        yield made
    finally:
        made.shutdown()
        thread.join()
        made.server_close()
