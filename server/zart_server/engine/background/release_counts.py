"""Counts what a release has before it and behind it, now and then."""

from __future__ import annotations

from zart_server.domain.pacing import most_unleased, seconds_left
from zart_server.store.connection import Tx
from zart_server.store.pausing.release_counts import (
    count_release,
    count_unleased,
    note_counted,
    note_unleased,
)
from zart_server.store.pausing.releases import StandingRelease
from zart_server.store.pausing.rules import share_pause_lock


async def count(tx: Tx, release: StandingRelease) -> bool:
    """Count the steps that are left, and those let go that nobody has leased, and keep that.

    Return whether any is left in the line of the rule.

    The caller has the rule's advisory lock; takes the pause lock, shared, only to write: nobody who
    pauses waits for a count. Whoever stops the release meanwhile, or changes its rate, has it
    counted anew.
    """
    counted = await count_release(tx, release.rule_key)
    if counted is None:
        return True
    is_waiting = counted.unleased >= most_unleased(release.rate)
    left = None
    if not is_waiting:
        before = None if counted.seconds is None else counted.before
        seconds = counted.seconds or 0.0
        left = seconds_left(before, counted.now, counted.not_due, seconds, release.rate)
    await share_pause_lock(tx)
    await note_counted(tx, release, counted, left, is_waiting=is_waiting)
    return counted.now.paused > 0


async def recount(tx: Tx, release: StandingRelease) -> None:
    """Count only the steps let go that nobody has leased, however long the line is.

    As ``count``.
    """
    unleased = await count_unleased(tx, release.rule_key)
    await share_pause_lock(tx)
    is_waiting = unleased >= most_unleased(release.rate)
    await note_unleased(tx, release, unleased, is_waiting=is_waiting)
