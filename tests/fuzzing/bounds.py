"""The values at which a field may break, by its kind: at, just inside and beyond its bounds."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import ListValue, Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp

_INT32 = 2**31
_INT64 = 2**63
_COUNTS = (0, 1, 2, 999, 1000, 1001, 9_999, 10_000, 10_001, 999_999, 1_000_000, 1_000_001)
_NANOS = (0, 1, 999, 1000, 999_999_999, 1_000_000_000, -1, _INT32 - 1, -_INT32)
_LAST_SECOND = 253_402_300_799  # of the year 9999
_FIRST_SECOND = -62_135_596_800  # of the year 1
_TIMES = (
    0, 1, _LAST_SECOND, _LAST_SECOND + 1, _FIRST_SECOND, _FIRST_SECOND - 1, _INT64 - 1, -_INT64,
)  # fmt: skip
_LONGEST_SPAN = 315_576_000_000  # seconds, of a valid Duration
_SPANS = (
    0, 1, -1, 60, 61, 3600, 3601, 366 * 86400, 366 * 86400 + 1, 365_000 * 86400,
    365_000 * 86400 + 1, _LONGEST_SPAN, _LONGEST_SPAN + 1, -_LONGEST_SPAN - 1, _INT64 - 1, -_INT64,
)  # fmt: skip
_NUMBERS = (
    0.0, -0.0, 0.5, 0.999999, 1.0, 1e6, 1000000.1, 2.0**53, 2.0**53 + 2, 1e308, 5e-324,
    float("inf"), float("-inf"), float("nan"), -1.0,
)  # fmt: skip
_LENGTHS = (64, 65, 255, 256, 268, 269, 1000, 1001, 16 * 1024, 16 * 1024 + 1)


def _token(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


_ANY = (
    "", " ", "x", "a\x00b", "a\nb", "\x1b[31m", "\x9b", "\u200b", "\U0010ffff", "🚀" * 64, "%s", "'",
    "a:run:0", "9" * 5000, *("x" * length for length in _LENGTHS), "ü" * 127, "ü" * 128,
)  # fmt: skip
_BY_NAME: dict[str, tuple[str, ...]] = {
    "run_id": (
        ":run:0", "x:run:2147483647", "x:run:2147483648", "x:run:00", "x:run:-1", "x:run:",
        f"x:run:{'9' * 200}",
    ),
    "task_id": (
        "1-1-1", "0-0-0", f"{_INT64 - 1}-1-1", f"{_INT64}-1-1", f"1-{_INT32}-1", "1-1", "-1--1--1",
        f"{'9' * 5000}-1-1", f"1-1-{_INT64}",
    ),
    "rule_id": ("pr-00000000", "pr-", "op-1"),
    "step_pattern": (
        "[", "{a", "\\", "*" * 16, "*" * 17, "{" * 256, "{" * 128 + "}" * 128, "[a-\U0010ffff]",
        "{*,*}" * 8, "[!a]", "[z-a]", "*" * 257,
    ),
    "json": (
        "null", "[]", '"', "NaN", "-Infinity", "1e400", "01", '"\\ud800"', '"\\u0000"', "\ufeff1",
        "[" * 64 + "]" * 64, "[" * 65 + "]" * 65, "[" * 5000, "[" * 65 + '"' + '\\"' * 200,
    ),
    "token": (
        _token(b"null"), _token(b"1"), _token(b"[]"), _token(b'["",1]'), _token(b"[null,1]"),
        _token(b'["",null]'), _token(b'{"a":1}'), _token(b"[" * 3000), _token(b"\xff"), "bnVsbA", "=",
    ),
}  # fmt: skip
TEXTS = (*_ANY, *(text for texts in _BY_NAME.values() for text in texts))


def bounds_of(field: FieldDescriptor) -> Sequence[Any]:
    """Return the values of a field, or of one item of a repeated one, that is no message of ours."""
    kind = field.cpp_type
    if field.enum_type is not None:
        known = [value.number for value in field.enum_type.values]
        return [*known, max(known) + 1, -1, _INT32 - 1, -_INT32]
    if kind == FieldDescriptor.CPPTYPE_INT32:
        return [*_COUNTS, -1, _INT32 - 2, _INT32 - 1, -_INT32]
    if kind == FieldDescriptor.CPPTYPE_INT64:
        return [0, 1, -1, _INT32, _INT64 - 2, _INT64 - 1, -_INT64]
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return [False, True]
    if kind == FieldDescriptor.CPPTYPE_DOUBLE:
        return _NUMBERS
    if kind == FieldDescriptor.CPPTYPE_STRING:
        return [*_ANY, *(t for end in _BY_NAME if field.name.endswith(end) for t in _BY_NAME[end])]
    raise NotImplementedError(field.full_name)


def messages_of(kind: Descriptor) -> Sequence[Message] | None:
    """Return the values of one of Google's own messages; None for a message of ours."""
    if kind.full_name == "google.protobuf.Timestamp":
        return [
            *(Timestamp(seconds=seconds) for seconds in _TIMES),
            *(Timestamp(seconds=s, nanos=n) for s in (_LAST_SECOND, 1) for n in _NANOS),
            Timestamp(seconds=_LAST_SECOND, nanos=999_999_000),
            Timestamp(seconds=_INT64 - 1, nanos=999_999_999),
        ]
    if kind.full_name == "google.protobuf.Duration":
        return [
            *(Duration(seconds=seconds) for seconds in _SPANS),
            *(Duration(seconds=s, nanos=n) for s in (0, 1, -1, 3600) for n in _NANOS),
            Duration(seconds=_INT64 - 1, nanos=999_999_999),
        ]
    if kind.full_name == "google.protobuf.Value":
        return list(_values())
    return None


def _values() -> Iterator[Value]:
    yield Value()  # has no kind
    yield Value(null_value=0)  # type: ignore[arg-type]  # its only one
    yield from (Value(number_value=number) for number in _NUMBERS)
    yield from (Value(string_value=text) for text in _ANY)
    yield Value(list_value=ListValue(values=[Value()]))
    yield Value(struct_value=Struct(fields={"": Value(bool_value=True), "\x00": Value()}))
    for depth in (20, 45):  # of 50: there are two messages for each
        nested = Value(bool_value=True)
        for _ in range(depth):
            nested = Value(list_value=ListValue(values=[nested]))
        yield nested
