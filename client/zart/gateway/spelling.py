"""How a number, a name of an enum, a time and a span are written where JSON has them as text.

Python, and so json_format, reads more: digits of any script, with _ between, and blanks around.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from google.protobuf.descriptor import FieldDescriptor

_TOLD = 40  # characters of a text
_NUMBER = r"-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?"
_FRACTIONAL = {FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT}
_AS_ONE_LIKES = {
    FieldDescriptor.TYPE_BOOL,
    FieldDescriptor.TYPE_BYTES,
    FieldDescriptor.TYPE_STRING,
}


@dataclass(frozen=True, slots=True)
class _Spelling:
    what: str
    pattern: re.Pattern[str]


_INTEGER = _Spelling("a number", re.compile(_NUMBER))
_DOUBLE = _Spelling("a number", re.compile(rf"{_NUMBER}|NaN|-?Infinity"))
_NAME = _Spelling("a name", re.compile(r"[A-Za-z_][A-Za-z0-9_]*|-?[0-9]+"))
_MESSAGES = {
    "google.protobuf.Duration": _Spelling(
        "seconds, as in 7200s", re.compile(r"-?[0-9]+(\.[0-9]{1,9})?s")
    ),
    "google.protobuf.Timestamp": _Spelling(
        "a time, as in 2026-01-31T12:00:00Z",
        re.compile(
            r"[0-9]{4}(-[0-9]{2}){2}T[0-9]{2}(:[0-9]{2}){2}(\.[0-9]{1,9})?"
            r"(Z|[-+][0-9]{2}:[0-9]{2})"
        ),
    ),
}


def misspelt(field: FieldDescriptor, text: str) -> str:
    """Say what is wrong with the text that is given for a field; empty: nothing.

    Whether there is such a name, and how large a number may be, is looked at elsewhere.
    """
    spelling = _spelling(field)
    if spelling is None or spelling.pattern.fullmatch(text):
        return ""
    return f"is {json.dumps(text[:_TOLD])}, not {spelling.what}"


def _spelling(field: FieldDescriptor) -> _Spelling | None:
    if field.message_type is not None:
        return _MESSAGES.get(field.message_type.full_name)
    if field.enum_type is not None:
        return _NAME
    if field.cpp_type in _FRACTIONAL:
        return _DOUBLE
    return None if field.type in _AS_ONE_LIKES else _INTEGER
