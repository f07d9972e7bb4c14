"""Releases: found by the rule's line and by attempts, whatever else is paused and queued."""

from __future__ import annotations

from datetime import timedelta

from hot.explained import Explained
from hot.pausing import paused
from hot.scenario import BATCH, scenario
from hot.states import MANY
from zart_server.domain.commands import Caller
from zart_server.domain.model import PauseScope
from zart_server.domain.pacing import Line, NotDue
from zart_server.engine.operations.canary_line import (
    let_canaries_go,
    lock_canaries,
    read_rates,
)
from zart_server.engine.operations.expire import expire
from zart_server.engine.operations.let_go import let_steps_go, lock_line
from zart_server.store.pausing.closing import close_leased, find_leased
from zart_server.store.pausing.letting_go import (
    promise_canary,
    promised_canaries,
    promised_steps,
    take_canary,
)
from zart_server.store.pausing.meant import rules_meant
from zart_server.store.pausing.release_counts import (
    Counted,
    count_release,
    count_unleased,
    note_counted,
    note_unleased,
)
from zart_server.store.pausing.releases import (
    begin_release,
    begun_release,
    change_rate,
    has_line,
    is_any_put_back,
    is_settled,
    standing_releases,
    stop_release,
    withholds_any,
)
from zart_server.store.reads import read_known_holds

_OF_MANY = PauseScope(None, "many", None)
_KEPT = "SELECT (unleased_steps, is_waiting) FROM zart.pause_releases"
_BACK_OFF = """
    UPDATE zart.held SET not_before = now() + run_key * interval '1 s'
    WHERE rule_key = $1 AND run_key % 2000 = 1
"""
_GIVE_BACK = """
    INSERT INTO zart.attempts (run_key, step_no, attempt, status, swept, dispatcher_id, lease_token,
        started_at, completed_at)
    SELECT run_key, 0, 1, 'released', false, 'd', 1, now(), clock_timestamp() FROM ({}) t
"""
_FIRST = f"SELECT run_key FROM zart.{{}} ORDER BY not_before, queue_no LIMIT {BATCH}"


async def releasing(tx: Explained) -> int:
    """Add a releasing rule that has all that is paused in its line; gives its key."""
    key = await paused(tx, _OF_MANY)
    await tx.sql.execute("DELETE FROM zart.pause_work")
    await tx.sql.execute("UPDATE zart.held SET rule_key = $1", key)
    await begin_release(tx.tx, key, 1_000.0, Caller())
    return key


async def released(tx: Explained, key: int, table: str = "queue") -> None:
    """Have a rule have let go the oldest of a table."""
    await tx.sql.execute(
        "INSERT INTO zart.released_steps (rule_key, run_key, step_no, attempt, token_from)"
        f" SELECT $1, run_key, 0, 1, 0 FROM ({_FIRST.format(table)}) t",
        key,
    )


@scenario()
async def letting_the_oldest_go(tx: Explained) -> None:
    key = await releasing(tx)
    locked = (await lock_line(tx.tx, key, BATCH)).run_keys
    done = await let_steps_go(tx.tx, key, locked, BATCH, {key: 1_000.0})
    assert done[:2] == (BATCH, 0)
    standing = await standing_releases(tx.tx)
    assert standing[key].is_settled
    assert await is_settled(tx.tx, key)


@scenario(100)  # a page, at least
async def letting_canaries_go(tx: Explained) -> None:
    key = await releasing(tx)
    await tx.sql.execute("DELETE FROM zart.pause_releases")
    line = await lock_canaries(tx.tx, key, BATCH, await read_rates(tx.tx))
    done = await let_canaries_go(tx.tx, key, line, BATCH)
    assert done[:2] == (BATCH, 0)


@scenario()
async def counting_a_release(tx: Explained) -> None:
    key = await releasing(tx)
    await tx.sql.execute("UPDATE zart.held SET rule_key = 1 WHERE run_key % 1000 <> 1")
    await released(tx, key)
    release = (await standing_releases(tx.tx))[key]
    counted = await count_release(tx.tx, key)
    assert counted == Counted(BATCH, Line(MANY // 1000, 0), NotDue(), Line(0, 0), None)
    assert await count_unleased(tx.tx, key) == BATCH
    await note_unleased(tx.tx, release, BATCH, is_waiting=True)
    assert await tx.sql.fetchval(_KEPT) == (BATCH, True)
    await tx.sql.execute(f"DELETE FROM zart.queue WHERE run_key IN ({_FIRST.format('queue')})")
    await tx.sql.execute(_BACK_OFF, key)
    counted = await count_release(tx.tx, key)
    assert counted is not None
    later = MANY // 2000
    assert counted == Counted(0, Line(MANY // 1000, 0), counted.not_due, Line(0, 0), None)
    assert counted.not_due.steps == later
    assert 0 < counted.not_due.first < counted.not_due.last
    await note_counted(tx.tx, release, counted, 1.0, is_waiting=False)
    assert await tx.sql.fetchval(_KEPT) == (0, False)


@scenario()
async def closing_what_was_leased(tx: Explained) -> None:
    key = await releasing(tx)
    await released(tx, key)
    assert await find_leased(tx.tx, key, BATCH) == []
    await tx.sql.execute(f"DELETE FROM zart.queue WHERE run_key IN ({_FIRST.format('queue')})")
    leased = await find_leased(tx.tx, key, BATCH)
    assert len(leased) == BATCH
    await close_leased(tx.tx, key, leased)
    assert await find_leased(tx.tx, key, BATCH) == []


@scenario(2 * BATCH)
async def stopping_a_release(tx: Explained) -> None:
    key = await releasing(tx)
    await released(tx, key)
    assert await change_rate(tx.tx, key, 5.0)
    assert await stop_release(tx.tx, key)
    taken = "SELECT count(token_until) FROM zart.released_steps WHERE rule_key = $1"
    assert await tx.sql.fetchval(taken, key) == BATCH


@scenario()
async def asking_whether_a_release_is_at_its_end(tx: Explained) -> None:
    key = await releasing(tx)
    assert await has_line(tx.tx, key)
    begun = await begun_release(tx.tx, key)
    assert begun is not None
    assert await has_line(tx.tx, key, begun.now - timedelta(hours=1))
    for which, is_in_line in (("queue", False), ("held", True)):
        since = await tx.sql.fetchval("SELECT clock_timestamp()")
        await tx.sql.execute(_GIVE_BACK.format(_FIRST.format(which)))
        assert await is_any_put_back(tx.tx, key, since) == is_in_line
    assert await withholds_any(tx.tx, key)
    assert await withholds_any(tx.tx, key, 2**62)
    other = await paused(tx, PauseScope(None, "other", None))
    assert not await withholds_any(tx.tx, other)


@scenario(1)
async def promising_a_canary(tx: Explained) -> None:
    key = await paused(tx, _OF_MANY)
    assert [row.rule_key for row in await rules_meant(tx.tx, None, _OF_MANY)] == [key]
    await promise_canary(tx.tx, key, 5)
    assert await promised_canaries(tx.tx) == []
    await tx.sql.execute("DELETE FROM zart.pause_work")
    (canary,) = await promised_canaries(tx.tx)
    assert canary[:2] == (key, 5)
    assert await promised_steps(tx.tx, key) == 5
    assert await take_canary(tx.tx, canary) == 5


@scenario(1)
async def beginning_a_release_at_an_expiry(tx: Explained) -> None:
    await tx.sql.execute(
        "INSERT INTO zart.pause_rules (rule_id, task_name, everything, reason, created_by, epoch,"
        " expires_at, expiry_rate) SELECT 'pr-' || n, 't-' || n, false, '', '', n,"
        " now() + interval '1 h', 5 FROM generate_series(1, 1000) n"
    )
    key = await paused(tx, _OF_MANY)
    await tx.sql.execute(
        "UPDATE zart.pause_rules SET expires_at = now(), expiry_rate = 5 WHERE rule_key = $1", key
    )
    assert await expire(tx.alone) == 1
    assert list(await standing_releases(tx.tx)) == [key]


@scenario()
async def listing_what_held_an_execution(tx: Explained) -> None:
    key = await releasing(tx)
    await released(tx, key, "held")
    found = (await read_known_holds(tx.tx, f"x-{MANY + 1}")).found()
    assert [hold.step_name for hold in found.holds] == ["a"]
