"""Command lines as they are pasted into a shell."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from zart.printable import one_line


def command_line(words: Iterable[str]) -> str:
    """Quote words for a shell; those with control characters as bash writes them."""
    return " ".join(map(_quoted, words))


def no_options(*names: str) -> list[str]:
    """Return names as the arguments of a command; none, being callers' text, is an option."""
    guard = ["--"] if any(name.startswith("-") for name in names) else []
    return [*guard, *names]


def _quoted(word: str) -> str:
    if one_line(word) == word:
        return shlex.quote(word)
    written = "".join(
        c if c.isascii() and c.isprintable() and c not in "\\'" else _in_bytes(c) for c in word
    )
    return f"$'{written}'"


def _in_bytes(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in character.encode(errors="surrogateescape"))
