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


def metadata_of(headers: Headers) -> Metadata:
    """Return the metadata that a call passes on. Raises Refusal for credentials that it cannot."""
    found = []
    for name, value in headers.items():
        if name in _PASSED_ON:
            if not (value.isascii() and value.isprintable()):
                if name in _OF_TRACES:
                    continue
                raise invalid([(name, "the header has characters other than printable ASCII")])
            found.append((name, value))
    if within := current_traceparent():  # a span of the gateway's, which is the caller's child
        found = [(name, value) for name, value in found if name != HEADER]
        found.append((HEADER, within))
    return tuple(found) if "authorization" in headers else (*found, *NOBODY)


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
