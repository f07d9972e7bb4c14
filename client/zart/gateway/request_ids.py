"""The request_id of a mutation: where it stands in the request, who gives it, where it is told."""

from __future__ import annotations

import functools
import re
import uuid
from typing import Any

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from zart.gateway.statuses import invalid

_VISIBLE = re.compile(r"[!-~]+")  # what a header can hold whatever surrounds it
_NAME = "request_id"


def add_request_id(request: Message, idempotency_key: str) -> None:
    """Give a mutation that says no request_id ``idempotency_key``, or one that is made here.

    With one the channel's own repeats are safe. Raises Refusal if the two differ.
    """
    at = _where(request.DESCRIPTOR)
    if at is None:
        return
    has_it = _part(request, at)
    said = has_it.request_id
    if said and idempotency_key and said != idempotency_key:
        raise invalid([(".".join((*at, _NAME)), "is not the same as the header Idempotency-Key")])
    has_it.request_id = said or idempotency_key or uuid.uuid4().hex


def has_request_id(kind: Descriptor) -> bool:
    """Return whether this asks for a change: it, or its one part that has one, has a request_id."""
    return _where(kind) is not None


def request_id_header(request: Message) -> dict[str, str]:
    """Return the header that tells the request_id of a mutation, made here or not."""
    at = _where(request.DESCRIPTOR)
    request_id = "" if at is None else _part(request, at).request_id
    return {"Idempotency-Key": request_id} if _VISIBLE.fullmatch(request_id) else {}


@functools.cache
def _where(kind: Descriptor) -> tuple[str, ...] | None:
    """Return the fields that lead to what has the request_id: none, or its one part that has it.

    None: such a request has none. RunExecution's is that of what it starts.
    """
    if _NAME in kind.fields_by_name:
        return ()
    for field in kind.fields:
        inner = field.message_type
        if inner is not None and not field.is_repeated and _NAME in inner.fields_by_name:
            return (field.name,)
    return None


def _part(request: Message, at: tuple[str, ...]) -> Any:  # noqa: ANN401 - known by its fields
    for name in at:
        request = getattr(request, name)
    return request
