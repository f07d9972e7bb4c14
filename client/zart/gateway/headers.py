"""What is taken from a request's headers: who calls, its trace, its type, its Idempotency-Key."""

from __future__ import annotations

from google.rpc import code_pb2
from starlette.datastructures import Headers

from zart.gateway.statuses import invalid, refusal
from zart.trace_context import HEADER, current_traceparent

Metadata = tuple[tuple[str, str], ...]
# Says that a caller brought nothing, so that the server does not take the gateway's certificate
# for the caller's.
NOBODY: Metadata = (("authorization", ""),)
# What only says of which trace a request is: what cannot be passed on of that fails no request.
_OF_TRACES = frozenset({HEADER, "tracestate", "baggage", "x-request-id"})
_PASSED_ON = frozenset({"authorization", *_OF_TRACES})
_DROPPED_FIRST = ("baggage", "tracestate", "x-request-id", HEADER)
# Bytes of metadata, counted as gRPC does: of 16 KiB that a server takes, the rest is for what gRPC
# adds, and proxies do. Beyond 16 KiB it refuses calls by chance, each a little more likely.
_MOST_BYTES = 14 * 1024
_ENTRY = 32  # bytes that each counts besides its name and value


def metadata_of(headers: Headers) -> Metadata:
    """Return the metadata that a call passes on. Raises Refusal for credentials that it cannot.

    What only says of which trace a request is is left out where there is too much of it.
    """
    found = []
    for name, value in headers.items():
        if name in _PASSED_ON:
            if not (value.isascii() and value.isprintable()):
                if name in _OF_TRACES:
                    continue
                raise invalid([(name, "the header has characters other than printable ASCII")])
            found.append((name, value))
    found = _fitting(found)
    if within := current_traceparent():  # a span of the gateway's, which is the caller's child
        found = [(name, value) for name, value in found if name != HEADER]
        found.append((HEADER, within))
    return tuple(found) if "authorization" in headers else (*found, *NOBODY)


def _fitting(found: list[tuple[str, str]]) -> list[tuple[str, str]]:
    for dropped in _DROPPED_FIRST:
        if _size_of(found) <= _MOST_BYTES:
            return found
        found = [(name, value) for name, value in found if name != dropped]
    if (size := _size_of(found)) > _MOST_BYTES:
        wrong = (
            f"the header has {size} bytes, counted as metadata: at most {_MOST_BYTES} are passed on"
        )
        raise invalid([("authorization", wrong)])
    return found


def _size_of(metadata: list[tuple[str, str]]) -> int:
    return sum(len(name) + len(value) + _ENTRY for name, value in metadata)


def idempotency_key_of(headers: Headers) -> str:
    """Return the key, with or without the quotes that its standard asks for."""
    keys = headers.getlist("idempotency-key")
    if len(keys) > 1:
        raise invalid([("Idempotency-Key", "the header is there twice")])
    return keys[0].removeprefix('"').removesuffix('"') if keys else ""


def check_type(headers: Headers) -> None:
    """Refuse a body that does not call itself JSON: browsers send others without asking."""
    kind, _, parameters = headers.get("content-type", "").partition(";")
    charset = parameters.strip().lower().replace('"', "")
    if kind.strip().lower() != "application/json" or charset not in {"", "charset=utf-8"}:
        problem = "must be application/json: -H 'Content-Type: application/json'"
        raise invalid([("Content-Type", problem)], http=415)


def check_origin(headers: Headers) -> None:
    """Refuse what a page from elsewhere makes a browser send, also without a body.

    A server on loopback without identity would otherwise be operated by any page that its
    operator visits.
    """
    origin = headers.get("origin")
    if origin is not None and origin.partition("://")[2] != headers.get("host"):
        raise refusal(code_pb2.PERMISSION_DENIED, "requests from pages of other sites are refused")
