"""Where output goes: all of it, so that nothing of what callers wrote steers a terminal."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import select
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from zart.cli.words import wrapped
from zart.printable import ascii_json, escaped, escaped_json

if TYPE_CHECKING:
    from rich.console import Console

_COLUMNS = 80  # of a terminal that does not say
_CODES = {
    "bold": 1, "red": 31, "green": 32, "yellow": 33, "blue": 34, "magenta": 35, "cyan": 36,
    "bright_black": 90,
}  # fmt: skip


class OutputLost(Exception):
    """What is written reaches nobody any longer."""


class ReaderLeft(OutputLost):
    """Who read the output (``| head``) has seen enough."""


class NotWritten(OutputLost):
    """The output cannot be written, as where a disk is full."""


def open_what_is_closed() -> None:
    """Have the standard streams lead nowhere that our caller has closed (``<&-``, ``>&-``).

    Python has None in their place; and what is opened next, a connection, would take their number.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - to the end


class Screen:
    """Standard output or standard error.

    On a terminal there are colours and lines end where it does; elsewhere nothing is cut. Writing
    raises OutputLost.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.is_terminal = stream.isatty()
        self._has_colours = (
            self.is_terminal
            and not os.environ.get("NO_COLOR")
            and os.environ.get("TERM", "dumb") != "dumb"
        )
        # JSON is UTF-8, wherever it is read: in another encoding it would be none.
        self._takes_utf8 = not stream.encoding or codecs.lookup(stream.encoding).name == "utf-8"
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # what its encoding does not have

    @property
    def width(self) -> int | None:
        """How many columns there are; None: as many as it takes."""
        if not self.is_terminal:
            return None
        given = os.environ.get("COLUMNS", "")
        if given.isdecimal() and int(given):
            return int(given)
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or _COLUMNS
        except OSError:
            return _COLUMNS

    def line(self, text: str) -> None:
        """Print a line for people, broken between words where a terminal ends.

        A newline in it is shown, too: no error can look like a line of ours.
        """
        shown = escaped(text).replace("\n", "\\n")
        for one in wrapped(shown, self.width) if self.width else [shown]:
            self._write(one + "\n")
        self.flush()

    def verbatim(self, text: str) -> None:
        """Print text that may be copied from here, its lines as they are, however long."""
        self._write(escaped(text) + "\n")
        self.flush()

    def json(self, text: str, end: str = "\n") -> None:
        """Print JSON text: in ASCII, with escapes, where the stream is not of UTF-8."""
        shown = escaped_json(text)
        self._write((shown if self._takes_utf8 else ascii_json(shown)) + end)

    def row(self, cells: list[tuple[str, int, str]]) -> None:
        """Print cells, each with how much space follows it, and its colour ("": none)."""
        parts = []
        for text, space, colour in cells:
            shown = escaped(text)
            if colour and self._has_colours and shown:
                shown = f"\x1b[{_CODES[colour]}m{shown}\x1b[0m"
            parts.append(shown + " " * space)
        self._write("".join(parts).rstrip(" ") + "\n")

    def console(self) -> Console:
        """Return a console for what moves, in lines that leave room for the ^C of an end."""
        from rich.console import Console  # noqa: PLC0415 - takes a while, and seldom is there need

        return Console(
            file=self._stream,
            width=max(20, (self.width or _COLUMNS) - 2 * len("^C")),
            highlight=False,
            no_color=not self._has_colours,
        )

    def flush(self) -> None:
        """Let readers see it."""
        try:
            self._stream.flush()
        except OSError as error:
            raise self._lost(error) from None

    def check_reader(self) -> None:
        """Raise ReaderLeft where nobody reads any longer, as the next write would; writes nothing.

        Only pipes and sockets tell it by themselves; of all else, a closed stream too, nobody left.
        """
        try:
            number = self._stream.fileno()
            kind = os.fstat(number).st_mode
        except (OSError, ValueError):  # no file, as in a test, or closed
            return
        if not (stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind)):
            return
        poll = select.poll()
        poll.register(number, 0)  # of errors and hang-ups it is told anyway
        if any(found & (select.POLLERR | select.POLLHUP) for _, found in poll.poll(0)):
            raise self._lost(BrokenPipeError())

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
        except OSError as error:
            raise self._lost(error) from None

    def _lost(self, error: OSError) -> OutputLost:
        """Send what is still buffered nowhere, so that the interpreter's end does not complain."""
        with contextlib.suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
        if isinstance(error, BrokenPipeError):
            return ReaderLeft()
        return NotWritten(f"the output cannot be written: {error.strerror or error}")
