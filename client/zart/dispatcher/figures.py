"""What a dispatcher does at one moment, in numbers."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import NamedTuple

from zart.dispatcher.in_hand import InHand


class Figures(NamedTuple):
    """The slots of a dispatcher, and the steps that it has in hand.

    ``ahead``: leased steps that wait for a slot. ``outcomes``: those that the server has not
    answered yet. ``oldest_outcome``: for how many seconds the oldest of these has waited, 0 if
    there is none. ``blocked_seconds``: for how long the event loop was blocked since the start, a
    second or more at a time.
    """

    slots: int
    running: int = 0
    ahead: int = 0
    outcomes: int = 0
    oldest_outcome: float = 0.0
    blocked_seconds: float = 0.0


def outcomes_of(in_hand: Iterable[InHand]) -> tuple[int, float]:
    """Return how many outcomes wait for an answer, and for how many seconds the oldest does."""
    ended = [each.ended_at for each in in_hand if each.ended]
    return len(ended), time.monotonic() - min(ended) if ended else 0.0
