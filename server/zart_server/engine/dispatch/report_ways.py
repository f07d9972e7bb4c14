"""The ways in which outcomes are recorded: what they wait for, and for how long."""

from __future__ import annotations

from typing import NamedTuple

from zart_server.store.patience import MOMENT


class ReportWay(NamedTuple):
    """How outcomes are recorded: for how many seconds locks are waited for, at most.

    ``waits``: for runs, too, else those that others have locked are stragglers. ``are_parts``: of
    calls of which the rest is recorded apart.
    """

    seconds: float
    waits: bool = False
    are_parts: bool = False


AT_ONCE = ReportWay(MOMENT)
# Without what is locked. What else was in the way, as an error of a new kind, may take longer.
ONCE_MORE = ReportWay(0.5, are_parts=True)
IN_PARTS = ReportWay(MOMENT, are_parts=True)
TRIED = ReportWay(MOMENT, waits=True, are_parts=True)
IN_TURN = ReportWay(1.0, waits=True, are_parts=True)  # then it is the turn of another locked run
