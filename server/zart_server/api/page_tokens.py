"""Page sizes, and page tokens that fit only the call and the filter they were made for."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from typing import TypeAlias

from google.protobuf.message import Message

from zart.v1.admin_service_pb2 import ListPauseRulesRequest, ListRunsRequest
from zart.v1.audit_service_pb2 import ListOperationsRequest
from zart.v1.execution_service_pb2 import ListExecutionsRequest, ListTaskDefinitionsRequest
from zart_server.api.checks import Checks
from zart_server.domain.errors import InvalidField

DEFAULT_SIZE = 50
MAX_SIZE = 1000
Cursor = tuple[int | str, ...]
ListRequest: TypeAlias = (
    ListRunsRequest
    | ListPauseRulesRequest
    | ListExecutionsRequest
    | ListTaskDefinitionsRequest
    | ListOperationsRequest
)


def page_size_of(size: int) -> int:
    """Give how many items a page may have."""
    if size < 0:
        raise InvalidField("page_size", f"is {size}, must not be negative")
    return min(size or DEFAULT_SIZE, MAX_SIZE)


def page_of(request: ListRequest, kind: type[int | str] = int) -> tuple[int, Cursor | None]:
    """Decode which page of a list is wanted: its size and where it begins."""
    with Checks() as check:
        return check(page_size_of, request.page_size), check(decode_cursor, request, kind)


def encode_cursor(request: ListRequest, cursor: Cursor | None) -> str:
    """Make the token of the page that begins after ``cursor``."""
    if cursor is None:
        return ""
    text = json.dumps([_binding(request), *cursor], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(request: ListRequest, kind: type[int | str] = int) -> Cursor | None:
    """Give where the page begins. Raises InvalidField for a token of another call or filter."""
    token: str = request.page_token
    if not token:
        return None
    try:
        padded = token + "=" * (-len(token) % 4)
        binding, position = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError):
        raise InvalidField("page_token", "is not one that this server made") from None
    if binding != _binding(request):
        raise InvalidField("page_token", "is of another call or another filter")
    if type(position) is not kind:
        raise InvalidField("page_token", "is not one that this server made")
    return (position,)


def _binding(request: Message) -> str:
    """Hash the call and its filter: all of the request but the page's own fields."""
    bare = type(request)()
    bare.CopyFrom(request)
    bare.ClearField("page_token")
    bare.ClearField("page_size")
    name = request.DESCRIPTOR.full_name.encode()
    digest = hashlib.sha256(name + b"\0" + bare.SerializeToString(deterministic=True))
    return base64.b64encode(digest.digest()[:9]).decode()
