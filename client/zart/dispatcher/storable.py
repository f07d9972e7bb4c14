"""Tells of valid JSON that no server stores, in the server's words, before it is sent.

A step whose result the server refuses is dead all the same. But then no test without a server
would find it. Of a small result it costs two looks at its text.
"""

from __future__ import annotations

import re
from array import array
from itertools import accumulate

_DEEPEST = 64
_NUL = r"\u0000"  # as JSON writes it
_ESCAPED_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")  # not of an escaped backslash and a word
_RISE = bytes(1 if char in b"[{" else 255 for char in range(256))  # 255 is -1 to array("b")
_QUOTE = b'"'
_NEITHER = bytes(char for char in range(256) if char not in b'[]{}"')  # bracket nor quote


def why_not_stored(text: str) -> str:
    """Return why a server refuses this JSON text, whatever its size; empty: it does not."""
    if text.count("[") + text.count("{") > _DEEPEST and _depth(text) > _DEEPEST:
        return f"is nested more than {_DEEPEST} deep"
    if _NUL in text and _ESCAPED_NUL.search(text):
        return "holds the character U+0000"
    return ""


def _depth(text: str) -> int:
    """Return how deep arrays and objects are nested. The text is valid JSON."""
    return max(accumulate(array("b", _brackets(text).translate(_RISE))), default=0)


def _brackets(text: str) -> bytes:
    """Return the brackets outside strings, by loops in C: a mebibyte in some tens of ms."""
    if "\\" in text:
        text = text.replace(r"\\", "").replace(r"\"", "")
    left = text.encode("ascii", "replace").translate(None, _NEITHER)
    left = left.replace(_QUOTE * 2, b"")  # two in a row begin or end nothing that has brackets
    return b"".join(left.split(_QUOTE)[::2]) if _QUOTE in left else left
