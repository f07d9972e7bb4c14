"""However long it takes to judge steps, PostgreSQL hears of the transaction and others are served."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import asyncpg
import pytest
from outliving import outlived
from patient import patient_database

from zart_server.domain.model import PauseScope
from zart_server.domain.rule_set import ActiveRule, Judgement, RuleSet, StepNames
from zart_server.store.begin_runs import insert_new_runs
from zart_server.store.caches.pause_rules import ChangedRules, PauseCache
from zart_server.store.connection import Tx
from zart_server.store.db import Database
from zart_server.store.enqueue import Leases
from zart_server.store.lessees import Lessees
from zart_server.store.pausing.alike import Alike
from zart_server.store.pausing.judging import (
    ask_of_each,
    judge,
    judge_to_the_end,
    refresh_rules,
    write_judged,
)

STEP = ("x", "t", "a")
# Of whoever cares about no lock; a server takes the pause lock before.
ADD_RULE = """
    INSERT INTO zart.pause_rules (rule_id, execution_id, everything, created_by, reason, epoch)
    SELECT 'pr-' || epoch, 'x', false, 'op', '', epoch + 1 FROM zart.pause_epoch;
    UPDATE zart.pause_epoch SET epoch = epoch + 1;
"""


def work(seconds: float) -> None:
    """Compute for so long, as many rules take."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


@pytest.fixture
async def store(
    zart_database: str, db: asyncpg.Connection[asyncpg.Record]
) -> AsyncIterator[Database]:
    """Open a database that has one rule."""
    await db.execute(ADD_RULE)
    database = await patient_database(zart_database)
    yield database
    await database.close()


class Slow:
    """Steps that take as long as those that ten thousand rules are compared with."""

    def __iter__(self) -> Iterator[StepNames]:
        for _ in range(50):
            work(0.03)
            yield STEP


@pytest.mark.parametrize(
    "ask",
    [
        judge,
        judge_to_the_end,
        lambda tx, steps: write_judged(tx, steps, lambda _: asyncio.sleep(0, 1)),
        lambda tx, steps: ask_of_each(tx, steps, tx.pauses.oldest),
    ],
    ids=["judge", "judge to the end", "write judged", "ask of each"],
)
@pytest.mark.usefixtures("store")
async def test_a_transaction_outlives_it(
    zart_database: str, ask: Callable[[Tx, Slow], Awaitable[object]]
) -> None:
    async def asking(tx: Tx) -> object:
        await refresh_rules(tx)
        return await ask(tx, Slow())

    await outlived(zart_database, asking)


class Changing:
    """Steps, while which are judged the first ``changes`` times a rule comes and is read."""

    def __init__(
        self, store: Database, db: asyncpg.Connection[asyncpg.Record], changes: int
    ) -> None:
        self._store, self._db, self._changes = store, db, changes
        self.passes = 0

    def __iter__(self) -> Iterator[StepNames]:
        self.passes += 1
        if self.passes <= self._changes:
            changing = asyncio.create_task(self._change())
            for _ in range(2_000):  # which end where nobody else is served
                if changing.done():
                    break
                work(0.005)
                yield STEP
        yield STEP

    async def _change(self) -> None:
        await self._db.execute(ADD_RULE)
        async with self._store.transaction() as tx:
            await refresh_rules(tx)


async def test_it_begins_anew_where_a_rule_comes_between(
    store: Database, db: asyncpg.Connection[asyncpg.Record]
) -> None:
    steps = Changing(store, db, changes=1)
    async with store.transaction() as tx:
        judgement = await judge(tx, steps)

        assert (steps.passes, len(judgement.rules), judgement.epoch) == (2, 1, 2)
        assert await insert_new_runs(tx, [], judgement, Lessees(), with_steps=False) == {}


async def test_nothing_is_written_by_rules_that_kept_changing(
    store: Database, db: asyncpg.Connection[asyncpg.Record]
) -> None:
    steps = Changing(store, db, changes=3)
    async with store.transaction() as tx:
        judgement = await judge(tx, steps)
        # Not even by a database that a failover has set back.
        for epoch in range(4):
            await tx.execute("UPDATE zart.pause_epoch SET epoch = $1", epoch)
            assert await insert_new_runs(tx, [], judgement, Lessees(), with_steps=False) is None

        assert steps.passes == 3


async def test_it_is_written_under_the_lock_after_rules_that_kept_changing(
    store: Database, db: asyncpg.Connection[asyncpg.Record]
) -> None:
    steps = Changing(store, db, changes=3)
    async with store.transaction() as tx:
        judgement, leases = await write_judged(tx, steps, lambda by: _begin(tx, by))

        assert (steps.passes, judgement.epoch, leases) == (4, 4, {})


async def _begin(tx: Tx, judgement: Judgement) -> Leases | None:
    return await insert_new_runs(tx, [], judgement, Lessees(), with_steps=False)


def test_steps_that_rules_see_alike_are_asked_of_once() -> None:
    pauses, rules, asked = PauseCache(), RuleSet(), list[StepNames]()
    rules.put(1, PauseScope("known", None, None))
    pauses.replace(1, rules)
    alike = Alike(pauses, asked.append)

    for step in (
        STEP,
        ("y", "t", "a"),
        ("y", "t", "a", [2]),
        ("z", "t", "a", (2,)),
        ("z", "t", "b"),
    ):
        alike.of(step)
    assert asked == [STEP, ("y", "t", "a", [2]), ("z", "t", "b")]

    asked.clear()
    for _ in range(2):
        alike.of(("known", "t", "a"))
    assert len(asked) == 2

    asked.clear()
    pauses.change(ChangedRules(2, [ActiveRule(2, PauseScope(None, "t", None), ())], []))
    for _ in range(2):
        alike.of(STEP)
    assert asked == [STEP]
