"""Checks JSON text before it is stored: what is accepted comes back exactly as it was sent."""

from __future__ import annotations

import json
import re

from zart_server.domain.errors import InvalidField, PayloadTooLarge

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 64
# Short text without brackets, escapes or exponents can only go wrong where the parser says so.
_SUSPICIOUS = re.compile(r"\\u|[eE]|[\ud800-\udfff]|\x00")
# What most results are; nothing can be wrong with it.
_PLAIN = re.compile(r'-?(?:0|[1-9]\d{0,15})|null|true|false|"[ !#-\[\]-~]{0,400}"')
_STRINGS = re.compile(r'"(?:[^"\\]|\\.)*"')


def check_json(text: str, field: str, limit: int = MAX_BYTES) -> None:
    """Raise unless ``text`` is JSON that PostgreSQL and every client can hold.

    Refuses NaN, numbers beyond a double's range, lone surrogates, NUL, and nesting over 64 deep;
    integers may have any number of digits. Raises PayloadTooLarge or InvalidField.
    """
    if _PLAIN.fullmatch(text):
        return
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    if size > limit:
        raise PayloadTooLarge(field, size, limit)
    if not text.strip():
        raise InvalidField(field, "is empty, not JSON")
    _refuse_depth(text, field)
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise InvalidField(field, f"is not JSON: {error.msg} at character {error.pos}") from None
    except ValueError as error:
        raise InvalidField(field, f"is not JSON: {error}") from None
    if _SUSPICIOUS.search(text):
        _refuse_strings(value, field)


def _refuse_depth(text: str, field: str) -> None:
    """Refuse deep nesting before the parser recurses into it."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    depth = 0
    for bracket in re.findall(r"[\[\]{}]", _STRINGS.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > MAX_DEPTH:
            raise InvalidField(field, f"is nested more than {MAX_DEPTH} deep")


def _refuse_strings(value: object, field: str) -> None:
    """Refuse strings that PostgreSQL cannot hold, keys included."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting += item.keys()
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item
        elif isinstance(item, str):
            if "\x00" in item:
                raise InvalidField(field, "holds the character U+0000")
            if not item.isascii() and re.search("[\ud800-\udfff]", item):
                raise InvalidField(field, "holds half of a surrogate pair")


def _float(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError("a number is out of range")
    return number


def _constant(text: str) -> None:
    raise ValueError(f"{text} is not a JSON value")


# Integers are checked by the scanner's grammar alone: Python refuses to convert long ones.
_DECODER = json.JSONDecoder(parse_float=_float, parse_int=len, parse_constant=_constant)
