"""Page sizes, and page tokens that fit only the call and the filter they were made for."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from typing import TypeAlias, TypeGuard

from google.protobuf.message import Message

from zart.v1.admin_service_pb2 import ListInDoubtRequest, ListPauseRulesRequest, ListRunsRequest
from zart.v1.audit_service_pb2 import ListOperationsRequest
from zart.v1.batch_service_pb2 import ListBatchesRequest, ListBatchItemsRequest
from zart.v1.breaker_service_pb2 import ListBreakersRequest
from zart.v1.execution_service_pb2 import (
    ListErrorGroupsRequest,
    ListExecutionsRequest,
    ListTaskDefinitionsRequest,
)
from zart.v1.retention_service_pb2 import ListRetentionRequest
from zart_server.api.checks import Checks
from zart_server.api.fields import name_of
from zart_server.domain.errors import InvalidField

DEFAULT_SIZE = 50
MAX_SIZE = 1000
_LONGEST = 4096  # characters of a token: a name of 255 bytes may need six for each of them
_MOST = 2**63 - 1
Cursor = tuple[int | str, ...]
ListRequest: TypeAlias = (
    ListRunsRequest
    | ListPauseRulesRequest
    | ListInDoubtRequest
    | ListErrorGroupsRequest
    | ListExecutionsRequest
    | ListTaskDefinitionsRequest
    | ListOperationsRequest
    | ListBreakersRequest
    | ListBatchesRequest
    | ListBatchItemsRequest
    | ListRetentionRequest
)


def page_size_of(size: int) -> int:
    """Return how many items a page may have."""
    if size < 0:
        raise InvalidField("page_size", f"is {size}, must not be negative")
    return min(size or DEFAULT_SIZE, MAX_SIZE)


def page_of(request: ListRequest, kind: type[int | str] = int) -> tuple[int, Cursor | None]:
    """Decode which page of a list is wanted: its size and where it begins."""
    with Checks() as check:
        return check(page_size_of, request.page_size), check(decode_cursor, request, kind)


def encode_cursor(request: Message, cursor: Cursor | None) -> str:
    """Make the token of the page that begins after ``cursor``, good for this call and filter."""
    if cursor is None:
        return ""
    text = json.dumps([_binding(request), *cursor], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(request: ListRequest, kind: type[int | str] = int) -> Cursor | None:
    """Return where the page begins. Raises InvalidField for a token of another call or filter."""
    if not request.page_token:
        return None
    match decode_positions(request, request.page_token):
        case (position,) if type(position) is kind:
            return (position,)
    raise not_made_here()


def decode_positions(request: Message, token: str) -> Cursor:
    """Read a token that was made for a request. Raises InvalidField for any other."""
    match _content(token):
        case [str() as binding, *positions] if positions:
            if binding != _binding(request):
                raise InvalidField("page_token", "is of another call or another filter")
            found = tuple(position for position in positions if _is_position(position))
            if len(found) == len(positions):
                return found
    raise not_made_here()


def not_made_here() -> InvalidField:
    """Return what a caller is told of a token that no answer had."""
    return InvalidField("page_token", "is not one that this server made")


def _content(token: str) -> object:
    """Read the JSON of a token; None where there is none. Anybody can make one up."""
    if len(token) > _LONGEST:
        return None
    try:
        padded = token + "=" * (-len(token) % 4)
        return json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError):
        return None


def _is_position(position: object) -> TypeGuard[int | str]:
    """Return whether a position can be one: the database would fail on any other."""
    if type(position) is int:
        return 0 <= position <= _MOST
    if not isinstance(position, str):
        return False
    try:
        return name_of(position, "page_token") == position
    except (InvalidField, UnicodeEncodeError):
        return False


def _binding(request: Message) -> str:
    """Hash the call and its filter: all of the request but the page's own fields."""
    bare = type(request)()
    bare.CopyFrom(request)
    for field in ("page_token", "page_size"):
        if field in request.DESCRIPTOR.fields_by_name:
            bare.ClearField(field)
    name = request.DESCRIPTOR.full_name.encode()
    digest = hashlib.sha256(name + b"\0" + bare.SerializeToString(deterministic=True))
    return base64.b64encode(digest.digest()[:9]).decode()
