"""A bar in one line of a terminal, for what takes a while; elsewhere nothing is shown."""

from __future__ import annotations

import contextlib
from types import TracebackType
from typing import TYPE_CHECKING

from zart.cli.screen import Screen

if TYPE_CHECKING:
    from rich.progress import Progress


class Bar:
    """A bar on a screen, gone when it is left."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._progress: Progress | None = None

    def __enter__(self) -> Bar:
        if self._screen.is_terminal:
            from rich.progress import (  # noqa: PLC0415 - takes a while
                BarColumn,
                Progress,
                TextColumn,
                TimeElapsedColumn,
            )
            from rich.table import Column  # noqa: PLC0415 - likewise

            text = TextColumn(
                "{task.description}",
                markup=False,
                table_column=Column(no_wrap=True, overflow="ellipsis"),
            )
            columns = (text, BarColumn(bar_width=12), TimeElapsedColumn())
            self._progress = Progress(*columns, console=self._screen.console(), transient=True)
            self._progress.add_task("", total=None)
            try:
                self._progress.start()
            except BaseException:  # Ctrl-C, which must not leave the terminal without its cursor
                with contextlib.suppress(Exception):  # it has not begun everything that it ends
                    self._progress.stop()
                self._progress.console.show_cursor()
                raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def line(self, text: str) -> None:
        """Print a line above the bar; only at a terminal."""
        if self._progress is not None:
            self._progress.console.print(text, markup=False)

    def show(self, text: str, done: int, total: int) -> None:
        """Show how much is done, of how much, and say what."""
        if self._progress is not None:
            bar = self._progress.task_ids[0]
            self._progress.update(bar, description=text, completed=done, total=total, refresh=True)
