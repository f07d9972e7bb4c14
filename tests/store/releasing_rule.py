"""A rule of a database without a server that lets go at a pace whatever is queued."""

from __future__ import annotations

from waiting import GIVE_UP

from zart_server.domain.commands import Caller
from zart_server.domain.model import PauseScope
from zart_server.engine.background.releases import Releases
from zart_server.engine.operations.release import _seen_over
from zart_server.store.db import Database
from zart_server.store.pausing.lock import seize_pause_lock
from zart_server.store.pausing.releases import BegunRelease, begin_release, standing_releases
from zart_server.store.pausing.rules import insert_rule

RATE = 100_000.0  # as much as goes at once


async def releasing(store: Database) -> int:
    """Add a rule that is settled, and releasing: what is queued from then on is in its line."""
    async with store.autocommit() as connection:
        tx = await seize_pause_lock(connection, GIVE_UP)
        scope = PauseScope(None, "t", None)
        row = await insert_rule(tx, "pr-1", scope, None, caller=Caller())
        assert row is not None
        await begin_release(tx, row.rule_key, RATE, Caller())
        await tx.execute("DELETE FROM zart.pause_work")
        await tx.execute("UPDATE zart.pause_releases SET credit = rate_per_second")
    return row.rule_key


async def let_go(store: Database, sweep: Releases, most: int) -> int:
    """Have a sweep do one piece of the only release; gives how many steps went."""
    async with store.autocommit() as connection:
        (release,) = (await standing_releases(connection)).values()
    done = await sweep._piece(release, most)
    assert done is not None
    return done.released


async def seen_over(store: Database, rule_key: int) -> BegunRelease:
    """Have a release seen to be over."""
    async with store.autocommit() as connection:
        seen = await _seen_over(connection, rule_key)
    assert seen is not None
    return seen
