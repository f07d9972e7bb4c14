"""For how long a transaction waits for what others have locked: as its session does, or less.

Whoever works for many waits for nothing of one of them for long: a row that somebody has locked for
minutes would hold up all the others as often as it is met. Nor does who holds the pause lock: a
Pause would wait as long. For that lock itself all wait as their sessions do: a Pause that has to
wait keeps others waiting for up to a second.
"""

from __future__ import annotations

MOMENT = 0.1  # seconds: longer than most transactions last, too short to be noticed
UNDER_THE_PAUSE_LOCK = 0.5

# What sessions say in a setting of their own, so that statements can go back to it.
USUAL = "zart.lock_timeout"


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)


def at_most(seconds: float) -> str:
    """Return what a transaction begins with so that it waits no longer for any lock."""
    return f"SET LOCAL lock_timeout = {_milliseconds(seconds)};"


# As the ``first`` of background work for one of several: others are not to wait as long as a call
# may, where somebody holds a row of it, nor those who wait for what it has locked by then.
BRIEFLY = at_most(1.0)


def at_most_from_here(seconds: float) -> str:
    """Return the same as a value within a statement, for what is locked once it was evaluated."""
    return f"set_config('lock_timeout', '{_milliseconds(seconds)}', true)"


# Likewise, so that locks are waited for as usual again.
AS_USUAL = f"set_config('lock_timeout', current_setting('{USUAL}', true), true)"
