"""Refuses requests with fields that this server does not know, where ignoring one could do harm.

proto3 drops what it does not know: a dry run, sent by a newer caller to an older server during a
rolling upgrade, would be the deed.
"""

from __future__ import annotations

import functools
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
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
_JSON = {f"google.protobuf.{kind}" for kind in ("Value", "Struct", "ListValue")}
_MOST = 10

_LOOKED_AT = 10_000  # parts of a JSON value, to name what is in it

Look = Callable[[Message, bytes], None]


@functools.cache
def looking(method: str, kind: Descriptor | None) -> Look | None:
    """Return what looks at a method's requests, as read and as sent, and raises UnknownField.

    None where there is nothing to look for, so that it costs these methods nothing.
    """
    if kind is None:
        return None
    if method.startswith(_REFUSING):
        return _look_everywhere
    return _look_in_filters if _has_filter(kind, set()) else None


def _look_everywhere(request: Message, raw: bytes) -> None:
    """Refuse whatever is not known, at any depth: nothing is named before there is something.

    JSON values have as many parts as their caller likes. What a request loses with its unknown
    fields is seen without looking at each in Python, to 64 messages within each other: those are 20
    to 30 levels of JSON. What is left of a request that is refused is what is known of it.
    """
    if _loses(request):
        _refuse(everywhere(type(request).FromString(raw)))


def _look_in_filters(request: Message, _raw: bytes) -> None:
    _refuse(in_filters(request))


def _refuse(unknown: Iterator[str]) -> None:
    if paths := list(itertools.islice(unknown, _MOST)):
        raise UnknownField(paths)


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
        if field.message_type is not None:
            look = _in_json if field.message_type.full_name in _JSON else everywhere
            for part, name in _messages(field, value):
                yield from look(part, f"{path}{name}.")


def _in_json(value: Message, path: str) -> Iterator[str]:
    """Yield the unknown fields of a JSON value, whatever is in it, as if they were its own.

    Its keys are the caller's data. Of a large one that has none in what is looked at, which may
    have some elsewhere, its own path.
    """
    found: set[int] = set()
    waiting, seen = deque([value]), 0
    while waiting and seen < _LOOKED_AT:
        part, seen = waiting.popleft(), seen + 1
        unknown = UnknownFieldSet(part)
        found.update(unknown[number].field_number for number in range(len(unknown)))
        for field, inner in part.ListFields():
            if field.message_type is not None:
                parts = _parts(inner) if field.is_repeated else (inner,)
                waiting.extend(itertools.islice(parts, _LOOKED_AT - len(waiting) + 1))
    yield from (f"{path}{number}" for number in sorted(found))
    if not found and waiting and _loses(value):
        yield path.removesuffix(".")


def _parts(values: Any) -> Iterable[Message]:  # noqa: ANN401 - of a map, or of a list
    return values.values() if isinstance(values, Mapping) else values


def _loses(message: Message) -> bool:
    """Whether a message has unknown fields; it has none after that."""
    size = message.ByteSize()
    message.DiscardUnknownFields()
    return message.ByteSize() != size


def in_filters(message: Message, path: str = "") -> Iterator[str]:
    """Yield the unknown fields of filters alone."""
    for field, value in message.ListFields():
        if _is_of_ours(field):
            look = everywhere if field.name == _FILTER else in_filters
            for part, name in _messages(field, value):
                yield from look(part, f"{path}{name}.")


def _is_of_ours(field: FieldDescriptor) -> bool:
    """Whether it may have a filter: messages of Google's have none."""
    return field.message_type is not None and field.message_type.full_name.startswith("zart.")


def _messages(field: FieldDescriptor, value: Any) -> Iterator[tuple[Message, str]]:  # noqa: ANN401 - a message, or several
    if field.is_repeated:
        for number, part in enumerate(value):
            yield part, f"{field.name}[{number}]"
    else:
        yield value, field.name
