"""Checks single fields of requests: everything that needs no database."""

from __future__ import annotations

import contextlib
import functools
import json
import math
import unicodedata
from collections.abc import MutableMapping, Sequence
from datetime import UTC, datetime, timedelta
from weakref import WeakValueDictionary

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp

from zart_server.domain.errors import InvalidField, PayloadTooLarge, TooManyItems
from zart_server.domain.json_text import MAX_BYTES, MAX_DEPTH, check_json

MAX_NAME = 255
MAX_TEXT = 1000
MAX_ITEMS = 1000
_KEPT_NAMES, _KEPT_LETTERS = 1000, 16_384  # of a list of names that is kept, all together
_EXACT = 2**53
_NANOS = 1_000_000_000
_EPOCH = datetime.fromtimestamp(0, UTC)
_LAST_SECOND = datetime.max.replace(microsecond=0, tzinfo=UTC)
_MAX_DURATION = 315_576_000_000  # seconds: 10,000 years, as google.protobuf.Duration has it


def has(message: Message, field: str) -> bool:
    """Return whether an optional field or message is set."""
    return message.HasField(field)


def name_of(text: str, field: str) -> str:
    """Check an id or a name: 1 to 255 bytes, something to see, no control characters."""
    if not text or text.isspace():
        raise InvalidField(field, "is empty")
    return text_of(text, field, MAX_NAME)


def text_of(text: str, field: str, limit: int = MAX_TEXT) -> str:
    """Check a short text, which may be empty, for length and control characters."""
    size = len(text)  # at least so many bytes
    if size <= limit:
        size = len(text.encode())
    if size > limit:
        raise InvalidField(field, f"has more than {limit} bytes")
    if not text.isprintable() and any(unicodedata.category(char) == "Cc" for char in text):
        raise InvalidField(field, "has a control character")
    return text


def lines_of(text: str, field: str) -> str:
    """Check a text that may be empty, and may have line breaks, as people write and paste it."""
    if len(text) > MAX_TEXT or len(text.encode()) > MAX_TEXT:
        raise InvalidField(field, f"has more than {MAX_TEXT} bytes")
    if "\x00" in text:
        raise InvalidField(field, "has a NUL character")
    return text


def optional_name(message: Message, field: str) -> str | None:
    """Check an optional name: unset, or a name."""
    return name_of(getattr(message, field), field) if has(message, field) else None


def optional_number(
    message: Message, field: str, least: int, most: int | None = None
) -> int | None:
    """Check an optional number for its bounds."""
    if not has(message, field):
        return None
    number: int = getattr(message, field)
    if most is not None and not least <= number <= most:
        raise InvalidField(field, f"is {number}, must be {least} to {most}")
    if number < least:
        raise InvalidField(field, f"is {number}, must be at least {least}")
    return number


def items_of(items: Sequence[object], field: str, limit: int = MAX_ITEMS) -> None:
    """Check how many items a call carries."""
    if len(items) > limit:
        raise TooManyItems(field, len(items), limit)


def names_of(names: Sequence[str], field: str, limit: int = MAX_ITEMS) -> tuple[str, ...]:
    """Check a list of names."""
    items_of(names, field, limit)
    return tuple(name_of(name, f"{field}[{index}]") for index, name in enumerate(names))


class NamesSentAgain(frozenset[str]):
    """Names that were checked, as a set; ``names`` is the list of them, in order.

    Lists that are equal are one of these as long as any call has it.
    """

    __slots__ = ("names",)
    names: tuple[str, ...]

    @classmethod
    def of(cls, names: tuple[str, ...]) -> NamesSentAgain:
        """Make one of names that were checked."""
        made = cls(names)
        made.names = names
        return made


_in_use = WeakValueDictionary[tuple[str, ...], NamesSentAgain]()


def names_sent_again(names: Sequence[str], field: str, limit: int = MAX_ITEMS) -> NamesSentAgain:
    """Check a list of names that callers send with each of many calls: the same one once, mostly.

    Ten thousand calls may wait with ten thousand names each. Of lists that are not long some are
    kept beyond the calls, so that their names are hashed but once.
    """
    items_of(names, field, limit)
    given = tuple(names)
    is_long = len(given) > _KEPT_NAMES or sum(map(len, given)) > _KEPT_LETTERS
    checked = _in_use.get(given) if is_long else _checked(given)
    if checked is None:
        checked = NamesSentAgain.of(names_of(given, field, limit))
        _in_use[checked.names] = checked
    return checked


@functools.lru_cache(maxsize=64)  # a few MB where all are as long as can be
def _checked(names: tuple[str, ...]) -> NamesSentAgain | None:
    with contextlib.suppress(InvalidField):  # its field depends on whose names they are
        return NamesSentAgain.of(names_of(names, ""))
    return None


def time_of(time: Timestamp, field: str) -> datetime:
    """Check a time: a valid one, of the years 1 to 9999.

    It is rounded up to a microsecond: of times that have no more, the same ones are before it.
    """
    if not 0 <= time.nanos < _NANOS:
        raise InvalidField(field, "has nanoseconds out of range")
    try:
        second = _EPOCH + timedelta(seconds=time.seconds)
    except OverflowError:
        raise InvalidField(field, "is not of the years 1 to 9999") from None
    microseconds = -(-time.nanos // 1000)
    if second == _LAST_SECOND:  # the last microsecond of all means infinity to the database
        microseconds = min(microseconds, 999_998)
    return second + timedelta(microseconds=microseconds)


def duration_of(span: Duration, field: str, least: timedelta, most: timedelta) -> timedelta:
    """Check a span of time for its bounds."""
    signs_differ = span.seconds * span.nanos < 0
    if not -_NANOS < span.nanos < _NANOS or signs_differ or abs(span.seconds) > _MAX_DURATION:
        raise InvalidField(field, "is not a valid duration")
    found = timedelta(seconds=span.seconds, microseconds=span.nanos // 1000)
    is_beyond = found == most and span.nanos % 1000 > 0  # by less than a microsecond
    if is_beyond or not least <= found <= most:
        raise InvalidField(
            field,
            f"is {span.seconds + span.nanos / _NANOS:.15g} s, must be {least.total_seconds():g}"
            f" to {most.total_seconds():g} s",
        )
    return found


def json_of(message: Message, kind: str, value_field: str, path: str = "") -> str | None:
    """Return the JSON text of a ``oneof`` of a Value and exact text; None where neither is set."""
    which = message.WhichOneof(kind)
    if which is None:
        return None
    if which == value_field:
        text = value_to_json(getattr(message, which), path + which)
    else:
        text = getattr(message, which)
    check_json(text, path + which)
    return text


def value_to_json(value: Value, field: str) -> str:
    """Return the JSON text of a Value; numbers without a fraction become integers.

    Raises InvalidField for NaN and infinity, for whole numbers beyond 2^53, which may have been
    damaged on their way, and for what is nested too deep; PayloadTooLarge as soon as it is clear.
    """
    plain = _Plain(field).of(value, 0)
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":"))


class _Plain:
    """Makes Python values of a Value, until their text would be too large."""

    def __init__(self, field: str) -> None:
        self._field = field
        self._room = MAX_BYTES

    def of(self, value: Value, depth: int) -> object:
        if depth > MAX_DEPTH:
            raise InvalidField(self._field, f"is nested more than {MAX_DEPTH} deep")
        kind = value.WhichOneof("kind")
        if kind == "number_value":
            return _number(value.number_value, self._field)
        if kind == "string_value":
            text = value.string_value
            self._take(len(text))
            return text
        if kind == "bool_value":
            return value.bool_value
        if kind == "struct_value":
            return self._members(value.struct_value.fields, depth)
        if kind == "list_value":
            items = value.list_value.values
            self._take(2 * len(items))  # each has at least a character and a comma
            return [self.of(item, depth + 1) for item in items]
        if kind == "null_value":
            return None
        raise InvalidField(self._field, "has a value without a kind")

    def _members(self, members: MutableMapping[str, Value], depth: int) -> dict[str, object]:
        self._take(5 * len(members))
        names = sorted(members)
        self._take(sum(map(len, names)))
        return {name: self.of(members[name], depth + 1) for name in names}

    def _take(self, size: int) -> None:
        """Count characters that the text will have at least."""
        self._room -= size
        if self._room < 0:
            raise PayloadTooLarge(self._field, MAX_BYTES - self._room, MAX_BYTES)


def _number(number: float, field: str) -> int | float:
    if not math.isfinite(number):
        raise InvalidField(field, "has a number that is not finite")
    if not number.is_integer():
        return number
    if abs(number) > _EXACT:
        raise InvalidField(
            field, f"has a whole number beyond 2^53, which may be damaged: use {field}_json"
        )
    return number if number == 0 and math.copysign(1, number) < 0 else int(number)
