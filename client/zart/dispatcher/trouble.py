"""Logs a trouble that lasts: its begin, now and then that it goes on, and its end."""

from __future__ import annotations

import time
from collections.abc import Mapping

from zart.dispatcher.log import Log

_AGAIN = 30.0  # seconds between two lines of one trouble


class Trouble:
    """Something that may fail for a while, and is repeated until it works.

    ``what`` begins the log's sentence: "outcomes wait".
    """

    def __init__(self, log: Log, what: str) -> None:
        self._log = log
        self._what = what
        self._since = 0.0
        self._times = 0
        self._told_at = 0.0

    def met(self, problem: object, fields: Mapping[str, object] | None = None) -> None:
        """Note that it failed again. ``fields`` are those of the line, where it is about one."""
        now = time.monotonic()
        self._times += 1
        if self._times == 1:
            self._since = self._told_at = now
            told = "%s, a repeat follows: %s"
            self._log.warning(told, self._what, problem, extra=fields)
        elif now - self._told_at >= _AGAIN:
            self._told_at = now
            self._log.warning(
                "%s, %d times in %.0f s, a repeat follows: %s",
                self._what, self._times, now - self._since, problem, extra=fields,
            )  # fmt: skip

    def over(self) -> None:
        """Note that it worked."""
        if self._times:
            lasted = time.monotonic() - self._since
            self._log.info("over: %s, %d times in %.1f s", self._what, self._times, lasted)
            self._times = 0
