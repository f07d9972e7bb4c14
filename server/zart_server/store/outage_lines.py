"""Tells the log why callers hear STORE_UNAVAILABLE, of each cause now and then."""

from __future__ import annotations

import logging
import time

_log = logging.getLogger(__name__)
_AGAIN = 20.0  # seconds between two lines of one cause


class OutageLines:
    """The lines of one server: of few causes, each of which thousands of calls may meet."""

    def __init__(self) -> None:
        self._told_at: dict[str, float] = {}  # by time.monotonic
        self._untold: dict[str, int] = {}  # how often each was met since

    def tell(self, cause: str) -> None:
        """Tell the log that something could not be done, unless it was told of this just now."""
        now = time.monotonic()
        told_at = self._told_at.get(cause)
        if told_at is not None and now - told_at < _AGAIN:
            self._untold[cause] = self._untold.get(cause, 0) + 1
            return
        self._told_at[cause] = now
        untold = self._untold.pop(cause, 0)
        before = f" (and {untold} times since this was told last)" if untold else ""
        _log.warning("STORE_UNAVAILABLE: %s%s", cause, before)
