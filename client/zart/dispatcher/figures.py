"""What a dispatcher does at one moment, in numbers."""

from __future__ import annotations

from typing import NamedTuple


class Figures(NamedTuple):
    """The slots of a dispatcher, and the steps that it has in hand.

    ``ahead``: leased steps that wait for a slot. ``outcomes``: those that the server has not
    answered yet. ``blocked_seconds``: for how long the event loop was blocked since the start, a
    second or more at a time.
    """

    slots: int
    running: int
    ahead: int
    outcomes: int
    blocked_seconds: float
