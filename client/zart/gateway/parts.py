"""Counts the parts of a request before it becomes a message, as the server counts them.

A number in a list is two bytes of JSON, and microseconds of this gateway's only thread for such
work; and nobody has been asked yet who calls. What is past the bound the server refuses, too.
"""

from __future__ import annotations

from google.protobuf.descriptor import FieldDescriptor
from google.rpc import code_pb2, error_details_pb2

from zart.gateway.statuses import Refusal, refusal

# What a part counts: of each kind no more than to the server, so that what it takes is passed on.
_OURS, _ITEM, _GOOGLES, _MEMBER, _VALUE, _CONTAINER = 16, 4, 2, 6, 3, 1
MOST_PARTS = 1_600_000
_OWN = "zart."


class Parts:
    """The parts of one request so far. To add one too many raises Refusal (TOO_MANY_ITEMS)."""

    def __init__(self) -> None:
        self._count = 0

    def add_field(self, field: FieldDescriptor, item: object) -> None:
        """Count what a field is given: all of a list or a map, a message, or what is no part."""
        is_many = isinstance(item, list) or (isinstance(item, dict) and field.is_repeated)
        number = len(item) if is_many and isinstance(item, list | dict) else 1
        inner = field.message_type
        if inner is not None:
            self._add(number * (_OURS if inner.full_name.startswith(_OWN) else _GOOGLES))
        elif is_many:
            self._add(number * _ITEM)

    def add_members(self, number: int) -> None:
        """Count an object in a google.protobuf.Value, of so many members."""
        self._add(_CONTAINER + number * _MEMBER)

    def add_values(self, number: int) -> None:
        """Count a list in a google.protobuf.Value, of so many values."""
        self._add(_CONTAINER + number * _VALUE)

    def add_read(self) -> None:
        """Count a number or an object of the JSON, whatever becomes of it."""
        self._add(1)

    def _add(self, weight: int) -> None:
        self._count += weight
        if self._count > MOST_PARTS:
            raise too_many(self._count, MOST_PARTS)


def too_many(count: int, most: int) -> Refusal:
    """Refuse a request for its many parts, as the server does."""
    wrong = f"{count} items, at most {most} are taken"
    violation = error_details_pb2.BadRequest.FieldViolation
    return refusal(
        code_pb2.RESOURCE_EXHAUSTED,
        f"request: {wrong}",
        error_details_pb2.BadRequest(
            field_violations=[violation(field="request", description=wrong)]
        ),
        reason="TOO_MANY_ITEMS",
        metadata={"field": "request", "count": str(count), "limit": str(most)},
    )
