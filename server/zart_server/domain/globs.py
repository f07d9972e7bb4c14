r"""The globs of step patterns: ``*`` ``?`` ``[a-c]`` ``[!x]`` ``{a,b}`` and ``\\x``.

A pattern becomes a regular expression that PostgreSQL and Python read alike; the database does
the matching, since it never backtracks. ``matches`` says the same without a regular expression.
"""

from __future__ import annotations

import functools
import itertools
import re
from dataclasses import dataclass
from typing import TypeAlias

MAX_LENGTH = 256
MAX_STARS = 16


@dataclass(frozen=True, slots=True)
class _Set:
    ranges: tuple[tuple[str, str], ...]
    negated: bool

    def __contains__(self, char: str) -> bool:
        return any(low <= char <= high for low, high in self.ranges) is not self.negated


@dataclass(frozen=True, slots=True)
class _Either:
    choices: tuple[tuple[_Part, ...], ...]


class _Star:
    """Any number of characters."""


class _Any:
    """One character."""


_Part: TypeAlias = "str | _Set | _Either | _Star | _Any"
_STAR, _ANY = _Star(), _Any()


def check_glob(pattern: str) -> None:
    """Raise ValueError, saying what is wrong, where ``pattern`` is no glob."""
    _parse(pattern)


def to_regex(pattern: str) -> str:
    """Translate a glob to an anchored regular expression. Raises ValueError."""
    return f"^(?:{_regex(_parse(pattern))})$"


def matches(pattern: str, name: str) -> bool:
    """Return whether a glob matches the whole of ``name``; in time pattern times name."""
    return Glob.of(pattern).matches(name)


@dataclass(frozen=True, slots=True)
class Glob:
    """A glob that many names are compared with.

    ``prefix`` and ``suffix``: what each match begins and ends with, without overlap. ``texts``
    stand in each between them, in this order. Of each of ``needs`` it has at least one there.
    """

    prefix: str
    middle: tuple[_Part, ...]
    suffix: str
    texts: tuple[str, ...]
    needs: tuple[tuple[str, ...], ...]

    @classmethod
    @functools.lru_cache(maxsize=10_000)  # a long one of sets takes 20 KB
    def of(cls, pattern: str) -> Glob:
        """Read a glob. Raises ValueError."""
        parts = _parse(pattern)
        prefix = _text(parts)
        rest = parts[len(prefix) :]
        suffix = _text(rest[::-1])[::-1]
        middle = rest[: len(rest) - len(suffix)]
        runs = itertools.groupby(middle, lambda part: isinstance(part, str))
        texts = tuple("".join(run) for is_text, run in runs if is_text)  # type: ignore[arg-type]  # what is_text says
        choices = (
            tuple(map(_text, part.choices))
            for part in middle
            if isinstance(part, _Either)
            and all(choice and len(_text(choice)) == len(choice) for choice in part.choices)
        )
        return cls(prefix, middle, suffix, texts, (*((text,) for text in texts), *choices))

    def matches(self, name: str) -> bool:
        """Return whether it matches the whole of a name; in time pattern times name."""
        at, end = len(self.prefix), len(name) - len(self.suffix)
        if end < at or not (name.startswith(self.prefix) and name.endswith(self.suffix)):
            return False
        if not self.middle:
            return at == end
        if len(self.middle) == 1 and isinstance(self.middle[0], _Star):
            return True
        for text in self.texts:  # by which most names differ, and which is found out at once
            found = name.find(text, at, end)
            if found < 0:
                return False
            at = found + len(text)
        full = (1 << (end + 1)) - 1
        ends = _ends(self.middle, _places(name), 1 << len(self.prefix), full)
        return bool(ends >> end)


def _text(parts: tuple[_Part, ...]) -> str:
    """Return the text that parts begin with."""
    return "".join(itertools.takewhile(lambda part: isinstance(part, str), parts))  # type: ignore[arg-type]  # they are str


@functools.lru_cache(maxsize=1000)
def _places(name: str) -> dict[str, int]:
    """Return where a name has each of its characters: bits of a number, the lowest is the first."""
    places: dict[str, int] = {}
    for at, char in enumerate(name):
        places[char] = places.get(char, 0) | 1 << at
    return places


def _ends(parts: tuple[_Part, ...], places: dict[str, int], starts: int, full: int) -> int:
    """Return where a match of ``parts`` can end that begins at any of ``starts``, both as bits."""
    for part in parts:
        if not starts:
            break
        if isinstance(part, str):
            starts = (starts & places.get(part, 0)) << 1 & full
        elif isinstance(part, _Star):
            starts = full & -(starts & -starts)  # all from the first on
        elif isinstance(part, _Any):
            starts = starts << 1 & full
        elif isinstance(part, _Either):
            ends = 0
            for choice in part.choices:
                ends |= _ends(choice, places, starts, full)
            starts = ends
        else:
            fits = 0
            for char, where in places.items():
                if char in part:
                    fits |= where
            starts = (starts & fits) << 1 & full
    return starts


def _regex(parts: tuple[_Part, ...]) -> str:
    return "".join(map(_part_regex, parts))


def _part_regex(part: _Part) -> str:
    if isinstance(part, _Star):
        return ".*"
    if isinstance(part, _Any):
        return "."
    if isinstance(part, _Either):
        return "(?:" + "|".join(map(_regex, part.choices)) + ")"
    if isinstance(part, _Set):
        return "[" + ("^" if part.negated else "") + "".join(map(_range_regex, part.ranges)) + "]"
    return _literal(part)


def _literal(char: str) -> str:
    # An escaped letter or digit would be a class or a reference; all else may be escaped.
    return char if char.isalnum() or char == "_" or ord(char) > 127 else f"\\{char}"  # noqa: PLR2004 - ASCII


def _range_regex(bounds: tuple[str, str]) -> str:
    low, high = map(_literal, bounds)
    return low if low == high else f"{low}-{high}"


def _parse(pattern: str) -> tuple[_Part, ...]:
    if not pattern:
        raise ValueError("is empty")
    if len(pattern) > MAX_LENGTH:
        raise ValueError(f"has {len(pattern)} characters, at most {MAX_LENGTH} are taken")
    if re.search(r"[\x00-\x1f\x7f]", pattern):
        raise ValueError("has a control character")
    parser = _Parser(pattern)
    parts = parser.parts(closers="")
    if parser.stars > MAX_STARS:
        raise ValueError(f"has {parser.stars} stars, at most {MAX_STARS} are taken")
    return parts


class _Parser:
    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.at = 0
        self.stars = 0

    def parts(self, closers: str) -> tuple[_Part, ...]:
        found: list[_Part] = []
        while self.at < len(self.pattern) and self.pattern[self.at] not in closers:
            found.append(self._part())
        return tuple(found)

    def _take(self, missing: str) -> str:
        if self.at == len(self.pattern):
            raise ValueError(missing)
        self.at += 1
        return self.pattern[self.at - 1]

    def _part(self) -> _Part:
        char = self._take("")
        if char == "*":
            self.stars += 1
            return _STAR
        if char == "?":
            return _ANY
        if char == "[":
            return self._set()
        if char == "{":
            return self._either()
        if char == "\\":
            return self._take("ends in a backslash")
        return char

    def _either(self) -> _Part:
        choices = [self.parts(closers=",}")]
        while self._take("a { is never closed") == ",":
            choices.append(self.parts(closers=",}"))
        return _Either(tuple(choices))

    def _set(self) -> _Part:
        unclosed = "a [ is never closed"
        negated = self.pattern.startswith(("!", "^"), self.at)
        self.at += negated
        ranges: list[tuple[str, str]] = []
        while True:
            low = self._take(unclosed)
            if low == "]" and ranges:
                return _Set(tuple(ranges), negated)
            if low == "\\":
                low = self._take(unclosed)
            high = low
            if self.pattern.startswith("-", self.at) and not self.pattern.startswith("-]", self.at):
                self.at += 1
                high = self._take(unclosed)
                if high == "\\":
                    high = self._take(unclosed)
            if high < low:
                raise ValueError(f"the range {low}-{high} is the wrong way round")
            ranges.append((low, high))
