"""Checks JSON text before it is stored: what is accepted comes back exactly as it was sent.

Every step takes time linear in the text, and its loops run in C: 1 MiB of the worst text takes
some tens of milliseconds, for the check runs where everybody's calls are served.
"""

from __future__ import annotations

import contextlib
import gc
import json
import re
import threading
from array import array
from collections.abc import Callable, Iterator
from itertools import accumulate

from zart_server.domain.errors import InvalidField, PayloadTooLarge

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 64
# What most results are; nothing can be wrong with it.
_PLAIN = re.compile(r'-?(?:0|[1-9]\d{0,15})|null|true|false|"[ !#-\[\]-~]{0,400}"')
# A string, also one that is never closed: without the last choice every later quote of such a
# text would be tried as a beginning. Possessive, since there is nothing to go back for.
_STRING = re.compile(r'"[^"\\]*+(?:\\.?[^"\\]*+)*+(?:"|\Z)', re.DOTALL)
_RISE = bytes(1 if char in b"[{" else 255 for char in range(256))  # 255 is -1 to array("b")
_NOT_BRACKETS = bytes(char for char in range(256) if char not in b"[]{}")
_AT_ONCE = 64 * 1024  # brackets
_BAD_ESCAPE = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")
# Valid JSON up to the first escape that PostgreSQL cannot hold.
_GOOD = re.compile(
    r"(?:[^\\]++|\\[^u]|\\u(?!0000|[dD][89a-fA-F])....|\\u[dD][89abAB]..\\u[dD][c-fC-F]..)*+",
    re.DOTALL,
)
_HALF = re.compile("[\ud800-\udfff]")
_MANY = 10_000  # brackets of a text that makes so many objects that collecting them takes long
_LONG = 4096  # characters of a text in which so many floats may be that calls for each take long
_INFINITY = float("inf")


def utf8_size(text: str) -> int:
    """Return how many bytes a text has as UTF-8; of plain ASCII it takes no time."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def check_json(text: str, field: str, limit: int = MAX_BYTES) -> None:
    """Raise unless ``text`` is JSON that PostgreSQL and every client can hold.

    Refuses NaN, numbers beyond a double's range, lone surrogates, NUL, and nesting over 64 deep;
    integers may have any number of digits. Raises PayloadTooLarge or InvalidField.
    """
    if _PLAIN.fullmatch(text):
        return
    size = utf8_size(text)
    if size > limit:
        raise PayloadTooLarge(field, size, limit)
    if not text or text.isspace():
        raise InvalidField(field, "is empty, not JSON")
    brackets = text.count("[") + text.count("{")
    if brackets > MAX_DEPTH:
        _refuse_depth(text, field)
    if brackets > _MANY:
        with _uncollected():
            _parse(text, field)
    else:
        _parse(text, field)
    _refuse_escapes(text, field)


def _refuse_depth(text: str, field: str) -> None:
    """Refuse deep nesting before the parser recurses into it."""
    rises = _STRING.sub("", text).encode("ascii", "replace").translate(_RISE, _NOT_BRACKETS)
    depth = 0
    for start in range(0, len(rises), _AT_ONCE):
        depths = list(accumulate(array("b", rises[start : start + _AT_ONCE]), initial=depth))
        if max(depths) > MAX_DEPTH:
            raise InvalidField(field, f"is nested more than {MAX_DEPTH} deep")
        depth = depths[-1]


def _parse(text: str, field: str) -> None:
    floats: list[str] = []  # to be looked at together
    try:
        (_SHORT if len(text) < _LONG else _decoder(floats.append)).decode(text)
    except json.JSONDecodeError as error:
        raise InvalidField(field, f"is not JSON: {error.msg} at character {error.pos}") from None
    except ValueError as error:
        raise InvalidField(field, f"is not JSON: {error}") from None
    if floats and max(map(abs, map(float, floats))) == _INFINITY:
        raise InvalidField(field, "is not JSON: a number is out of range")


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is not a JSON value")


def _refuse_infinity(text: str) -> None:
    if abs(float(text)) == _INFINITY:
        raise ValueError("a number is out of range")


def _decoder(parse_float: Callable[[str], None]) -> json.JSONDecoder:
    # Integers are checked by the scanner's grammar alone: Python refuses to convert long ones.
    return json.JSONDecoder(
        parse_float=parse_float,
        parse_int=len,
        parse_constant=_refuse_constant,
    )


_SHORT = _decoder(_refuse_infinity)


def _refuse_escapes(text: str, field: str) -> None:
    """Refuse characters that PostgreSQL cannot hold, of keys too. The text is valid JSON."""
    if not text.isascii() and _HALF.search(text):
        raise InvalidField(field, "holds half of a surrogate pair")
    if "\\u" not in text or not _BAD_ESCAPE.search(text):
        return
    good = _GOOD.match(text)
    end = 0 if good is None else good.end()
    if text.startswith(r"\u0000", end):
        raise InvalidField(field, "holds the character U+0000")
    if end < len(text):
        raise InvalidField(field, "holds half of a surrogate pair")


_uncollecting = threading.Lock()


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Pause garbage collection while short-lived objects are made."""
    with _uncollecting:
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            yield
        finally:
            if was_enabled:
                gc.enable()
