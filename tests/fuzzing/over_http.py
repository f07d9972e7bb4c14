"""Sends requests over HTTP/JSON, as the gateway takes them."""

from __future__ import annotations

import http.client
import json
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from google.protobuf import json_format
from google.protobuf.message import Message

from zart.gateway.bindings import Binding, all_services, bindings_of

_MOST_HEADERS = 16 * 1024  # bytes that a gateway reads of them


class Asked(NamedTuple):
    """A request as it is sent."""

    method: str
    path: str
    body: bytes | None


def bindings() -> list[Binding]:
    """Return every way to reach an RPC but the one that streams."""
    return [b for b in bindings_of(all_services()) if not b.rpc.server_streaming]


def asked(binding: Binding, request: Message) -> Asked | None:
    """Write a request as JSON, or as a query; None for one that has no JSON."""
    path = binding.path
    members: dict[str, Any]
    try:
        members = json_format.MessageToDict(request)
    except (ValueError, json_format.Error):
        return None
    for field, within in zip(binding.variables, binding.within, strict=True):
        inner = members
        for outer in within:
            inner = inner.get(outer.json_name, {})
        text = inner.pop(field.json_name, "")
        path = path.replace("{" + field.name + "}", quote(text, safe="") or "%20")
    if binding.takes_body:
        return Asked(binding.http_method, path, json.dumps(members).encode())
    flat = {
        name: [_text(item) for item in value] if isinstance(value, list) else _text(value)
        for name, value in members.items()
    }
    return Asked(binding.http_method, f"{path}?{urlencode(flat, doseq=True)}".rstrip("?"), None)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def status(connection: http.client.HTTPConnection, sent: Asked) -> tuple[int, str]:
    """Send a request on a connection that is kept; give the status and what was answered."""
    headers = {} if sent.body is None else {"Content-Type": "application/json"}
    try:
        connection.request(sent.method, sent.path, sent.body, headers)
        response = connection.getresponse()
        text = response.read().decode()
    except ConnectionError:
        connection.close()
        if len(sent.path) < _MOST_HEADERS:
            raise
        return 431, "closed before all of it was sent"
    if response.will_close:
        connection.close()
    return response.status, text
