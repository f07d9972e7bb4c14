"""Statements as values: one text with named parameters, and what it locks.

``:name`` in a text is a parameter. PostgreSQL numbers parameters, and so does ``Statement``, once,
when its module is imported: composed texts share names, and nobody counts. What is sent is indented
by its parentheses, so that it reads the same in ``docs/sql`` (``make sql``), in
``pg_stat_activity`` and in a log.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

# Strings, quoted names and comments are left alone; so is the second colon of a cast.
_TOKEN = re.compile(r"""'(?:[^']|'')*'|"[^"]*"|--[^\n]*|(?<![:\w]):([a-z_]\w*)|[()]""")
_CLAUSES = (
    "WITH|SELECT|INSERT|UPDATE|DELETE|FROM|USING|SET|WHERE|GROUP|ORDER|LIMIT|RETURNING|UNION|CROSS"
    "|LEFT|JOIN|ON|FOR|VALUES|OFFSET|OVERRIDING"
)
# What begins a line of its own; every other line goes on with the one before it.
_CLAUSE = re.compile(rf"--|\)|\(SELECT|\w+(\([\w, ]*\))? AS (MATERIALIZED )?\(|({_CLAUSES})\b")
# Where a line is broken that has become too long.
_BREAK = re.compile(
    rf"{_TOKEN.pattern}|(?<= )(FROM|SET|WHERE|AND|ORDER|RETURNING|CROSS|ON|VALUES)\b"
)
_INDENT = 4
_LONG = 96


class Statement:
    """A statement that is sent as ``text``, with the ``arguments`` of its named parameters.

    ``locks`` names what it locks, in that order: a table, "keys of" a table, or "pause lock", and
    after a comma whatever else there is to say. ``make sql`` compares the names with the text.
    """

    __slots__ = ("_ordered", "locks", "names", "text")

    def __init__(self, text: str, *, locks: Sequence[str] = ()) -> None:
        numbers: dict[str, int] = {}

        def numbered(token: re.Match[str]) -> str:
            name = token[1]
            return token[0] if name is None else f"${numbers.setdefault(name, len(numbers) + 1)}"

        self.text = indented(_TOKEN.sub(numbered, text))
        self.names = tuple(numbers)
        self.locks = tuple(locks)
        self._ordered = _ordering(self.names)

    def arguments(self, **values: object) -> tuple[object, ...]:
        """Return the values in the order of their numbers; each parameter has one, none has two."""
        if len(values) != len(self.names):
            raise TypeError(f"parameters {sorted(values.keys() ^ set(self.names))} do not agree")
        return self._ordered(values)


def _ordering(names: Sequence[str]) -> Callable[[Mapping[str, object]], tuple[object, ...]]:
    if len(names) > 1:  # of a single name, itemgetter makes no tuple
        getter: Callable[[Any], tuple[object, ...]] = operator.itemgetter(*names)
        return getter
    return lambda values: tuple(values[name] for name in names)


def indented(text: str) -> str:
    """Return a statement with its lines broken and indented by its parentheses, else as it is."""
    inside: list[int] = []  # the indents of the lines in whose parentheses the next one stands
    found: list[str] = []
    for line in _lines(text):
        closing = len(line) - len(line.lstrip(")"))
        indent = inside[-closing] if closing else inside[-1] + _INDENT if inside else 0
        if not _CLAUSE.match(line):
            indent += _INDENT
        found.append(" " * indent + line)
        for token in _TOKEN.finditer(line):
            if token[0] == "(":
                inside.append(indent)
            elif token[0] == ")":
                inside.pop()
    return "\n".join(found)


def _lines(text: str) -> Iterator[str]:
    """Yield lines: each part of a WITH begins where the one before it ends, as does a comma."""
    before = ""
    for line in filter(None, map(str.strip, text.split("\n"))):
        if before in ("WITH", "),"):
            before += f" {line}"
        elif line.startswith(",") and "--" not in before:
            before += line
        else:
            yield from _broken(before)
            before = line
    yield from _broken(before)


def _broken(line: str) -> Iterator[str]:
    depth, begin = 0, 0
    for token in _BREAK.finditer(line) if len(line) > _LONG else ():
        depth += {"(": 1, ")": -1}.get(token[0], 0)
        if token.lastindex == _BREAK.groups and depth <= 0:
            yield line[begin : token.start() - 1]
            begin = token.start()
    if line:
        yield line[begin:]
