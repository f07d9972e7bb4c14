"""Text of others, made fit to be printed: what would steer a terminal is shown, not done.

Errors, reasons and names are their callers' text. An escape sequence in one clears a screen, sets
a clipboard, or rewrites the line above; a bidirectional override makes a name read as another.
"""

from __future__ import annotations

import re

# C0 without tab and newline, DEL, C1; bidirectional marks, embeddings, overrides and isolates; the
# separators that some terminals take for a newline; halves of surrogate pairs, which no stream
# takes.
_STEERING = "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_IN_TEXT = re.compile(f"[{_STEERING}]")
_IN_A_LINE = re.compile(f"[\t\n{_STEERING}]")
_BEYOND_ASCII = re.compile("[^\x00-\x7f]+")
_NAMED = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}


def escaped(text: str) -> str:
    """Write control characters but tab and newline as hexadecimal escapes."""
    return _IN_TEXT.sub(_shown, text)


def one_line(text: str) -> str:
    """Write all control characters so, tab and newline included."""
    return _IN_A_LINE.sub(_shown, text)


def escaped_json(text: str) -> str:
    """Write the control characters of JSON text as JSON does: its meaning stays the same."""
    return _IN_TEXT.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def ascii_json(text: str) -> str:
    """Write JSON text in ASCII, for what takes no UTF-8: its meaning stays the same."""
    return _BEYOND_ASCII.sub(_units, text)


def _units(found: re.Match[str]) -> str:
    written = found[0].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{written[at : at + 4]}" for at in range(0, len(written), 4))


def _shown(found: re.Match[str]) -> str:
    character = found[0]
    if character in _NAMED:
        return _NAMED[character]
    number = ord(character)
    return f"\\x{number:02x}" if number <= 0xFF else f"\\u{number:04x}"  # noqa: PLR2004 - a byte
