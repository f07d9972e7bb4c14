"""Refuses requests with fields that this server does not know, where ignoring one could do harm.

proto3 drops what it does not know: a dry run, sent by a newer caller to an older server during a
rolling upgrade, would be the deed.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from zart_server.domain.errors import UnknownField

# Whole services, and single methods of others.
_REFUSING = (
    "/zart.v1.AdminService/",
    "/zart.v1.BatchService/",
    "/zart.v1.BreakerService/",
    "/zart.v1.RetentionService/",
    "/zart.v1.ExecutionService/CancelExecution",
)
_FILTER = "filter"  # a field of this name is a selection: one condition fewer selects more
_MOST = 10

Parse = Callable[[bytes], Any]


@functools.cache
def refusing(method: str, parse: Parse | None) -> Parse | None:
    """Return the parser of a method's requests; one that raises UnknownField where it should.

    The parser as it is where there is nothing to look for, so that it costs these methods nothing.
    """
    if parse is None:
        return None
    looks = everywhere if method.startswith(_REFUSING) else in_filters
    asked = getattr(parse, "__self__", None)  # the class of the message
    if looks is in_filters and not (asked and _has_filter(asked.DESCRIPTOR, set())):
        return parse

    def parse_and_look(raw: bytes) -> object:
        request = parse(raw)
        if isinstance(request, Message):
            unknown = list(itertools.islice(looks(request), _MOST))
            if unknown:
                raise UnknownField(unknown)
        return request

    return parse_and_look


def _has_filter(message: Descriptor, seen: set[str]) -> bool:
    seen.add(message.full_name)
    return any(
        field.name == _FILTER or _has_filter(field.message_type, seen)
        for field in message.fields
        if field.message_type is not None and field.message_type.full_name not in seen
    )


def everywhere(message: Message, path: str = "") -> Iterator[str]:
    """Yield the path of each unknown field, at any depth: names, and at the end its number."""
    unknown = UnknownFieldSet(message)
    for number in range(len(unknown)):
        yield f"{path}{unknown[number].field_number}"
    for field, value in message.ListFields():
        if _is_of_ours(field):
            for part, name in _messages(field, value):
                yield from everywhere(part, f"{path}{name}.")


def in_filters(message: Message, path: str = "") -> Iterator[str]:
    """Yield the unknown fields of filters alone."""
    for field, value in message.ListFields():
        if _is_of_ours(field):
            look = everywhere if field.name == _FILTER else in_filters
            for part, name in _messages(field, value):
                yield from look(part, f"{path}{name}.")


def _is_of_ours(field: FieldDescriptor) -> bool:
    """Whether it may lack something: messages of Google's, as JSON values, stay what they are."""
    return field.message_type is not None and field.message_type.full_name.startswith("zart.")


def _messages(field: FieldDescriptor, value: Any) -> Iterator[tuple[Message, str]]:  # noqa: ANN401 - a message, or several
    if field.is_repeated:
        for number, part in enumerate(value):
            yield part, f"{field.name}[{number}]"
    else:
        yield value, field.name
