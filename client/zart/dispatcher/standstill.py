"""Notices that the event loop stands still, and logs which step blocks it."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Set as AbstractSet
from pathlib import Path
from types import FrameType

from zart.dispatcher import handlers
from zart.dispatcher.attempt_fields import fields_of
from zart.dispatcher.in_hand import InHand
from zart.dispatcher.log import Log

_log = Log(__name__)
_LONG = 1.0  # seconds


class Standstill:
    """Asks the loop, from another thread, to answer. To be made in the loop's thread.

    A standstill of a second or more is logged once while it lasts, and once when the loop goes on.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, in_hand: AbstractSet[InHand]) -> None:
        self._loop = loop
        self._in_hand = in_hand
        self._thread = threading.get_ident()
        self._asked_at: float | None = None
        self._told: str | None = None
        self._fields: dict[str, object] = {}  # of the step that is told, if it is one
        self._stood = 0.0

    def look(self) -> None:
        """Look whether the loop has answered; the other thread calls this now and then."""
        asked_at, now = self._asked_at, time.monotonic()
        if asked_at is None:
            self._asked_at = now
            self._loop.call_soon_threadsafe(self._answer)
        elif self._told is None and now - asked_at >= _LONG:
            told, self._fields = self._who()
            self._told = told
            _log.warning(
                "the event loop has stood still for %.1f s, held up by %s: what blocks belongs"
                " into a plain function, which runs in a thread",
                now - asked_at, told, extra=self._fields,
            )  # fmt: skip

    def seconds(self) -> float:
        """Return for how long the loop has stood still by now, a second or more at a time."""
        asked_at, told = self._asked_at, self._told
        if asked_at is None or told is None:
            return self._stood
        return self._stood + time.monotonic() - asked_at

    def who(self) -> str:
        """Return what holds the loop up, if it has stood still for a second or more by now."""
        return self._told or ""

    def _answer(self) -> None:
        asked_at, told = self._asked_at, self._told
        self._asked_at = self._told = None
        if asked_at is not None and told is not None:
            stood = time.monotonic() - asked_at
            self._stood += stood
            line = "the event loop goes on; %s held it up for %.1f s"
            _log.warning(line, told, stood, extra=self._fields)

    def _who(self) -> tuple[str, dict[str, object]]:
        """Return what holds the loop up, and the fields of its attempt if it is a step."""
        task = asyncio.current_task(self._loop)
        running = (h for h in frozenset(self._in_hand) if task is not None and h.running is task)
        found = next(running, None)
        step = "no step itself, perhaps something that one has begun"
        if found is not None:
            step = f"step {found.context.run_id}/{found.context.step_name}"
        frame = sys._current_frames().get(self._thread)  # noqa: SLF001 - the public way is for debuggers
        return f"{step}{_location(frame)}", {} if found is None else fields_of(found)


def _location(frame: FrameType | None) -> str:
    """Return the line in the step's own function; of other code, the innermost line."""
    found = frame
    inner: FrameType | None = None
    while frame is not None:
        if frame.f_code.co_filename == handlers.__file__:
            found = inner
            break
        inner, frame = frame, frame.f_back
    if found is None:
        return ""
    code = found.f_code
    return f" ({Path(code.co_filename).name}:{found.f_lineno} in {code.co_name})"
