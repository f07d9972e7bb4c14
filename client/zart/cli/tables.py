"""Tables that are printed as their rows come, and that fit a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from zart.cli.screen import Screen
from zart.cli.words import width_of, wrapped
from zart.printable import one_line

_GAP = 2
_NARROW = 24  # columns: text in less is hard to read
TEXT = 40
NAMES = 1_000

COLOURS = {
    "COMPLETED": "green", "RUNNING": "cyan", "SCHEDULED": "blue", "PENDING": "bright_black",
    "PAUSED": "yellow", "ACTIVE": "yellow", "FAILED": "red", "DEAD": "red", "TIMED_OUT": "red",
    "LOST": "red", "CANCELLED": "magenta",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    ``rank``: where not all fit, the one with the highest goes first; 0 stays. ``words``: its
    cells may take several lines, broken between words; those up to so many columns stay whole.
    ``lines``: at most so many of them are shown on a terminal; 0: all. ``narrow``: in fewer
    columns its words are not worth it. ``squeezed``: it is this narrow, with words broken, before
    it is left out.
    """

    title: str
    rank: int = 0
    words: int = 0
    lines: int = 0
    narrow: int = _NARROW
    squeezed: int = 0


class Table:
    """Prints a table on a screen, in as many parts as its rows come in.

    Columns that no row fills are left out. On a terminal the columns are as wide as the rows so
    far ask for; where that changes which ones there are, the titles are printed again.
    """

    def __init__(self, screen: Screen, columns: Sequence[Column]) -> None:
        self._screen = screen
        self._columns = columns
        self._natural = [0] * len(columns)
        self._longest = [0] * len(columns)  # word
        self._squeezed: set[int] = set()
        self._shown: list[int] | None = None

    def add(self, rows: Iterable[Sequence[str]]) -> None:
        """Print rows, and the titles where they have not been."""
        cells = [[one_line(cell) for cell in row] for row in rows]
        for row in cells:
            for n, cell in enumerate(row):
                self._natural[n] = max(self._natural[n], width_of(cell))
                if self._columns[n].words and cell:
                    self._longest[n] = max(self._longest[n], *map(width_of, cell.split(" ")))
        filled = [n for n, width in enumerate(self._natural) if width]
        every = list(range(len(self._columns)))
        shown = self._that_fit(filled or every)
        widths = self._widths(shown)
        if shown != self._shown:
            self._shown = shown
            self._print([(self._columns[n].title, "bold") for n in shown], widths)
        for row in cells:
            self._print([(row[n], COLOURS.get(row[n], "")) for n in shown], widths)
        self._screen.flush()

    @property
    def left_out(self) -> list[str]:
        """The titles of the columns that did not fit."""
        return [
            column.title
            for n, column in enumerate(self._columns)
            if self._natural[n] and n not in (self._shown or [])
        ]

    def _that_fit(self, shown: list[int]) -> list[int]:
        width = self._screen.width
        self._squeezed.clear()
        while width is not None and self._total(shown) > width:
            last = max(reversed(shown), key=lambda n: self._columns[n].rank)
            if not self._columns[last].rank:
                break
            if self._columns[last].squeezed and last not in self._squeezed:
                self._squeezed.add(last)
                continue
            shown = [n for n in shown if n != last]
        return shown

    def _total(self, shown: list[int]) -> int:
        return sum(map(self._least, shown)) + _GAP * (len(shown) - 1)

    def _least(self, n: int) -> int:
        """Return the width below which a column is not worth it."""
        column = self._columns[n]
        natural = max(self._natural[n], len(column.title))
        if not column.words:
            return natural
        if n in self._squeezed:
            return min(natural, max(len(column.title), column.squeezed))
        return min(
            natural, max(len(column.title), min(self._longest[n], column.words), column.narrow)
        )

    def _widths(self, shown: list[int]) -> list[int]:
        """Return each column its least width, and what is left to those that ask for more."""
        natural = {n: max(self._natural[n], len(self._columns[n].title)) for n in shown}
        if self._screen.width is None:
            return [natural[n] for n in shown]
        least = {n: self._least(n) for n in shown}
        left = max(0, self._screen.width - self._total(shown))
        asking = sorted((n for n in shown), key=lambda n: natural[n] - least[n])
        for number, n in enumerate(asking):
            more = min(natural[n] - least[n], left // (len(asking) - number))
            least[n] += more
            left -= more
        return [least[n] for n in shown]

    def _print(self, cells: list[tuple[str, str]], widths: list[int]) -> None:
        """Print the cells of the shown columns, each with its colour."""
        parts = []
        for n, (text, _), width in zip(self._shown or (), cells, widths, strict=True):
            lines = wrapped(text, width) if self._screen.is_terminal else [text]
            most = self._columns[n].lines
            if self._screen.is_terminal and 0 < most < len(lines):
                lines = [*lines[: most - 1], _cut(lines[most - 1], width)]
            parts.append(lines)
        for line in range(max(map(len, parts))):
            texts = [part[line] if line < len(part) else "" for part in parts]
            self._screen.row(
                [
                    (text, max(0, width - width_of(text)) + _GAP, colour)
                    for text, width, (_, colour) in zip(texts, widths, cells, strict=True)
                ]
            )


def _cut(line: str, width: int) -> str:
    """End a line with an ellipsis in place of what does not fit, whole words kept."""
    while line and width_of(line) + 2 > width:
        line = line.rpartition(" ")[0]
    return f"{line} …" if line else "…"
