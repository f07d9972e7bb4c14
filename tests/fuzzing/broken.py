"""Breaks fields of requests, one at a time, by values that no field of their kind may have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp

_Change: TypeAlias = Callable[[Message], None]
_BROKEN: dict[int, tuple[Any, ...]] = {
    FieldDescriptor.CPPTYPE_STRING: ("x" * 20_000, "a\x00b"),
    FieldDescriptor.CPPTYPE_ENUM: (99,),
    FieldDescriptor.CPPTYPE_INT32: (-1,),
    FieldDescriptor.CPPTYPE_DOUBLE: (float("nan"),),
}
_GOOD: dict[int, Any] = {
    FieldDescriptor.CPPTYPE_STRING: "x",
    FieldDescriptor.CPPTYPE_ENUM: 1,
    FieldDescriptor.CPPTYPE_INT32: 1,
    FieldDescriptor.CPPTYPE_INT64: 1,
    FieldDescriptor.CPPTYPE_DOUBLE: 1.0,
    FieldDescriptor.CPPTYPE_BOOL: True,
}
# Of Google's own messages: what is broken, and what is good.
_MESSAGES: dict[str, tuple[Message, Message]] = {
    "google.protobuf.Duration": (Duration(seconds=1, nanos=-1), Duration(seconds=60)),
    "google.protobuf.Timestamp": (Timestamp(nanos=-1), Timestamp(seconds=2_000_000_000)),
    "google.protobuf.Value": (Value(), Value(number_value=1)),
    "google.protobuf.FieldMask": (FieldMask(paths=["no such"]), FieldMask()),
}
_TOKENS = {"plan_token", "page_token"}  # nobody but the server makes a good one


class Place(NamedTuple):
    """A field of a request, at any depth: its path, what breaks it there, and what is good."""

    path: str
    breaks: tuple[_Change, ...]
    mend: _Change | None

    def broken_in(self, request: Message, most: int) -> Iterator[Message]:
        """Yield copies of a request in which the field is bad, by so many values at the most."""
        return (_changed(request, change) for change in self.breaks[:most])

    def good_in(self, request: Message) -> Message:
        """Return a copy of a request in which the field is good; as it is where nothing would be."""
        return copied(request) if self.mend is None else _changed(request, self.mend)


def places(kind: Descriptor) -> Iterator[Place]:
    """Yield the fields of a request, down to those that have no fields of ours."""
    for field in kind.fields:
        inner = field.message_type
        if inner is not None and inner.full_name not in _MESSAGES:
            yield from (_within(field, place) for place in places(inner))
            continue
        if inner is not None:
            broken, good = _MESSAGES[inner.full_name]
            values: tuple[Any, ...] = (broken,)
        else:
            values, good = _BROKEN.get(field.cpp_type, ()), _GOOD[field.cpp_type]
        breaks = tuple(_setting(field, value) for value in values)
        mend = None if field.name in _TOKENS else _setting(field, good)
        yield Place(_path(field), breaks, mend)


def beside(request: Message, other: Place, place: Place) -> Message | None:
    """Return a copy with another field that is good; None if there is none, or it is instead of."""
    if other.path == place.path or other.mend is None or not place.breaks:
        return None
    found = other.good_in(request)
    broken = _changed(found, place.breaks[0])
    return found if other.good_in(broken) == broken else None


def is_under(told: str, path: str) -> bool:
    """Return whether a field that is named is that of the path, within it, or what it is within."""
    return (
        told == path
        or told.startswith((f"{path}.", f"{path}["))
        or path.startswith((f"{told}.", f"{told}["))
    )


def copied(request: Message) -> Message:
    """Return a copy of a request."""
    copy = cast("Any", type(request))()
    copy.CopyFrom(request)
    return cast("Message", copy)


def without(request: Message, name: str) -> Message:
    """Return a copy of a request without one of its fields."""
    copy = copied(request)
    copy.ClearField(name)
    return copy


def _changed(request: Message, change: _Change) -> Message:
    copy = copied(request)
    change(copy)
    return copy


def _path(field: FieldDescriptor) -> str:
    return f"{field.name}[0]" if field.is_repeated else field.name


def _within(field: FieldDescriptor, place: Place) -> Place:
    def inside(change: _Change) -> _Change:
        def done(message: Message) -> None:
            inner = getattr(message, field.name)
            if field.is_repeated:
                inner = inner[0] if inner else inner.add()
            change(inner)

        return done

    mend = None if place.mend is None else inside(place.mend)
    return Place(f"{_path(field)}.{place.path}", tuple(map(inside, place.breaks)), mend)


def _setting(field: FieldDescriptor, value: Any) -> _Change:
    def done(message: Message) -> None:
        if field.is_repeated:
            message.ClearField(field.name)
            getattr(message, field.name).append(value)
        elif field.message_type is not None:
            getattr(message, field.name).CopyFrom(value)
        else:
            setattr(message, field.name, value)

    return done
