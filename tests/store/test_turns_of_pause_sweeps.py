"""What a turn of the pause sweep goes through, and in which order: a Resume waits for nothing else."""

from __future__ import annotations

from lanes import queue
from waiting import GIVE_UP

from zart_server.domain.commands import Caller
from zart_server.domain.model import PauseScope
from zart_server.engine.background.breakers import Breakers
from zart_server.engine.background.drains import Drains
from zart_server.engine.background.pause_sweeps import PauseSweeps
from zart_server.engine.background.releases import Releases
from zart_server.engine.background.rule_looks import RuleLooks
from zart_server.engine.background.telling_completed import TellingCompleted
from zart_server.engine.dispatch.completions import Completions
from zart_server.store.db import Database
from zart_server.store.pausing.lock import seize_pause_lock
from zart_server.store.pausing.rules import insert_rule
from zart_server.store.pausing.work import pause_work

WORK = (
    "INSERT INTO zart.pause_work (rule_key, work) SELECT n, $1 FROM generate_series($2::int, $3) n"
)


async def pause(store: Database, *task_names: str) -> list[int]:
    """Add a rule for each of some tasks; gives their keys."""
    keys = []
    for name in task_names:
        async with store.autocommit() as connection:
            tx = await seize_pause_lock(connection, GIVE_UP)
            scope = PauseScope(None, name, None)
            row = await insert_rule(tx, f"pr-{name}", scope, None, caller=Caller())
        assert row is not None
        keys.append(row.rule_key)
    return keys


async def left(store: Database) -> list[int]:
    """Return the rules that have work left."""
    async with store.autocommit() as connection:
        return sorted(work.rule_key for work in await pause_work(connection))


async def test_a_release_is_found_behind_any_number_of_settling_rules(store: Database) -> None:
    async with store.autocommit() as connection:
        await connection.execute(WORK, "settle", 1, 2_000)
        await connection.execute(WORK, "release", 2_001, 2_002)
        work = await pause_work(connection)

    assert [item[:2] for item in work[:3]] == [
        (2_001, "release"),
        (2_002, "release"),
        (1, "settle"),
    ]
    assert len(work) == 1_002


async def test_a_turn_that_is_kicked_ends_with_the_rule_that_settles(store: Database) -> None:
    keys = await pause(store, "u", "v", "w")
    sweeps = PauseSweeps(store)
    sweeps.on_settled = sweeps.kick

    for settled in (1, 2, 3):
        await sweeps.turn()
        assert await left(store) == keys[settled:]


async def test_all_releases_come_before_that(store: Database) -> None:
    (key,) = await pause(store, "u")
    async with store.autocommit() as connection:
        await connection.execute(WORK, "release", key + 1, key + 3)
    sweeps = PauseSweeps(store)
    sweeps.kick()

    await sweeps.turn()
    assert await left(store) == []


async def test_a_rule_that_cannot_be_settled_keeps_no_other_waiting_though_turns_are_cut_short(
    store: Database,
) -> None:
    await queue(store, 1, 1)
    stuck, other = await pause(store, "t", "u")
    sweeps = PauseSweeps(store)
    sweeps.kick()

    async with store.transaction() as holding:
        await holding.execute("SELECT FROM zart.queue FOR UPDATE")
        await sweeps.turn()
        assert await left(store) == [stuck, other]
        await sweeps.turn()
        assert await left(store) == [stuck]


async def test_who_looks_each_second_cuts_no_turn_short(store: Database) -> None:
    await pause(store, "u")
    sweeps, breakers = PauseSweeps(store), Breakers(store, TellingCompleted(store, Completions()))
    looks = RuleLooks(store, sweeps, Drains(store), Releases(store), breakers)

    sweeps.is_in_turn = True
    await looks.turn()
    assert not sweeps.is_kicked

    sweeps.is_in_turn = False
    await looks.turn()
    assert sweeps.is_kicked
    await looks.stop()
