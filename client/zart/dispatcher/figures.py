"""What a dispatcher does at one moment, in numbers."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import NamedTuple

from zart.dispatcher.unanswered import Unanswered


class Figures(NamedTuple):
    """The slots of a dispatcher, and the steps that it has in hand.

    ``is_ready``: its tasks are registered, and a server has answered its last call for more; while
    it stops, whether that was so.
    ``ahead``: leased steps that wait for a slot. ``outcomes``: those that the server has not
    answered yet. ``oldest_outcome``: for how many seconds the oldest of these has waited, 0 if
    there is none. ``blocked_seconds``: for how long the event loop was blocked since the start, a
    second or more at a time.
    """

    slots: int
    is_ready: bool
    running: int = 0
    ahead: int = 0
    outcomes: int = 0
    oldest_outcome: float = 0.0
    blocked_seconds: float = 0.0


def outcomes_of(unanswered: Collection[Unanswered]) -> tuple[int, float]:
    """Return how many outcomes wait for an answer, and for how many seconds the oldest does."""
    since = [each.since for each in unanswered]
    return len(since), time.monotonic() - min(since) if since else 0.0
