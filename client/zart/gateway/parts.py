"""Counts the parts of a request before it becomes a message, as the server counts them.

A number in a list is two bytes of JSON, and microseconds of this gateway's only thread for such
work; and nobody has been asked yet who calls. What is past the bound the server refuses, too.
"""

from __future__ import annotations

from google.protobuf.descriptor import FieldDescriptor
from google.rpc import code_pb2, error_details_pb2

from zart.gateway.statuses import refusal

# What a part counts: of each kind no more than to the server, so that what it takes is passed on.
_OURS, _ITEM, _MEMBER, _VALUE = 16, 4, 6, 3
_MOST = 1_600_000
_OWN = "zart."


class Parts:
    """The parts of one request so far. To add one too many raises Refusal (TOO_MANY_ITEMS)."""

    def __init__(self) -> None:
        self._count = 0

    def add_items(self, field: FieldDescriptor, number: int) -> None:
        """Count what stands in the list, or the map, of a field."""
        inner = field.message_type
        is_ours = inner is not None and inner.full_name.startswith(_OWN)
        self._add(number * (_OURS if is_ours else _ITEM))

    def add_members(self, number: int) -> None:
        """Count the members of an object in a google.protobuf.Value."""
        self._add(number * _MEMBER)

    def add_values(self, number: int) -> None:
        """Count the values of a list in a google.protobuf.Value."""
        self._add(number * _VALUE)

    def _add(self, weight: int) -> None:
        self._count += weight
        if self._count > _MOST:
            wrong = f"{self._count} items, at most {_MOST} are taken"
            violation = error_details_pb2.BadRequest.FieldViolation
            raise refusal(
                code_pb2.RESOURCE_EXHAUSTED,
                f"request: {wrong}",
                error_details_pb2.BadRequest(
                    field_violations=[violation(field="request", description=wrong)]
                ),
                reason="TOO_MANY_ITEMS",
                metadata={"field": "request", "count": str(self._count), "limit": str(_MOST)},
            )
