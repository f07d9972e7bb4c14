"""What was judged by the pause rules is written by ``write_judged`` alone, and at most twice."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from patient import patient_database
from rig import CHAIN, Rig

import zart
from zart_server.domain.errors import PauseRulesChanged
from zart_server.domain.rule_set import Judgement
from zart_server.store.begin_runs import insert_new_runs
from zart_server.store.db import Database
from zart_server.store.enqueue import Leases
from zart_server.store.lessees import Lessees
from zart_server.store.pausing.judging import judge, refresh_rules, write_judged
from zart_server.store.pausing.rules import SEIZE_PAUSE_LOCK

SERVER = Path(__file__).parents[2] / "server/zart_server"
STEP = ("x", "t", "a")
# Of whoever cares about no lock; a server takes the pause lock before.
ADD_RULE = """
    INSERT INTO zart.pause_rules (rule_id, execution_id, everything, created_by, reason, epoch)
    SELECT 'pr-' || epoch, 'x', false, 'op', '', epoch + 1 FROM zart.pause_epoch;
    UPDATE zart.pause_epoch SET epoch = epoch + 1;
"""
FALL_BACK = "UPDATE zart.pause_epoch SET epoch = epoch - 1"


@pytest.fixture
async def store(zart_database: str) -> AsyncIterator[Database]:
    database = await patient_database(zart_database)
    yield database
    await database.close()


class Writing:
    """Begins no runs, by the statement that begins them; before it is sent others add a rule."""

    def __init__(self, store: Database, db: asyncpg.Connection[asyncpg.Record]) -> None:
        self._store, self._db = store, db
        self.judgements: list[Judgement] = []

    async def write(self, rules_between: int) -> Leases:
        """Write by the rules; the first so many times a rule comes between."""
        self.judgements.clear()
        async with self._store.transaction() as tx:

            async def begin(judgement: Judgement) -> Leases | None:
                self.judgements.append(judgement)
                if len(self.judgements) <= rules_between:
                    await self._db.execute(ADD_RULE)
                return await insert_new_runs(tx, [], judgement, Lessees(), with_steps=False)

            judgement, leases = await write_judged(tx, [STEP], begin)
        assert judgement is self.judgements[-1]
        return leases


@pytest.fixture
def writing(store: Database, db: asyncpg.Connection[asyncpg.Record]) -> Writing:
    return Writing(store, db)


async def test_it_is_written_once_where_no_rule_changes(writing: Writing) -> None:
    assert await writing.write(rules_between=0) == {}

    (judgement,) = writing.judgements
    assert list(judgement.beside([STEP])) == [(STEP, None)]


async def test_it_is_judged_once_more_where_a_rule_came_between(writing: Writing) -> None:
    assert await writing.write(rules_between=1) == {}

    first, second = writing.judgements
    assert (list(first.rules), len(second.rules)) == ([], 1)
    assert second.rules[0] is not None
    assert second.epoch == first.epoch + 1


async def test_it_is_refused_where_rules_change_again_in_spite_of_the_lock(
    writing: Writing,
) -> None:
    with pytest.raises(PauseRulesChanged, match="repeat the call"):
        await writing.write(rules_between=2)
    assert len(writing.judgements) == 2

    assert await writing.write(rules_between=0) == {}  # in a transaction of its own


async def test_rules_keep_their_epoch_while_others_are_read(
    store: Database, db: asyncpg.Connection[asyncpg.Record]
) -> None:
    async with store.transaction() as tx:
        first = await judge(tx, [STEP])
        await db.execute(ADD_RULE)
        await refresh_rules(tx)

        assert (first.rules, first.epoch) == ([], 0)
        assert await insert_new_runs(tx, [], first, Lessees(), with_steps=False) is None


async def ahead(rig: Rig) -> None:
    """Have the server know rules that the database does not, as after a failover that lost one."""
    await rig.dead("x", CHAIN, step="b")
    await rig.client.pause(task_name="another")
    await rig.start("y")  # reads that rule
    await rig.db.execute(FALL_BACK)


async def test_the_caller_repeats_what_was_refused(rig: Rig, zart_database: str) -> None:
    await ahead(rig)
    other = await asyncpg.connect(zart_database)
    try:
        async with rig.locked(SEIZE_PAUSE_LOCK):
            retrying = asyncio.create_task(rig.client.retry_step("x", "b"))
            await rig.until_waiting(at_length=True)  # before the next one, to the end
            next_turn = other.transaction()
            await next_turn.start()
            seizing = asyncio.create_task(other.execute(SEIZE_PAUSE_LOCK))
            await rig.until_waiting(2)
        await seizing  # so the first transaction is over
        await rig.until_waiting()  # and so it waits for the second
        assert not retrying.done()
        assert (await rig.statuses())["b"] == "DEAD"
        await other.execute(f"UPDATE zart.pause_epoch SET epoch = epoch + 1;{ADD_RULE}")
        await next_turn.commit()
    finally:
        await other.close()
    await retrying

    assert (await rig.statuses())["b"] == "PAUSED"
    assert await rig.db.fetchval("SELECT count(*) FROM zart.held") == 1
    kinds = await rig.db.fetch("SELECT kind FROM zart.operations WHERE execution_id = 'x'")
    assert [row["kind"] for row in kinds].count("retry_step") == 1


async def test_it_is_refused_in_the_end_where_repeats_do_not_help(rig: Rig) -> None:
    await ahead(rig)
    with pytest.raises(zart.errors.StoreConflict, match="pause rules"):
        await rig.client.retry_step("x", "b")

    assert (await rig.statuses())["b"] == "DEAD"


def test_nobody_else_reads_the_epoch() -> None:
    """The cache's is its own; a judgement's goes from the one place that makes it to statements."""
    attributes: dict[str, set[str]] = {"_epoch": set(), "epoch": set(), "pauses": set()}
    calls: dict[str, set[str]] = {"Judgement": set()}
    for path in SERVER.rglob("*.py"):
        module = path.relative_to(SERVER).as_posix()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in attributes:
                attributes[node.attr].add(module)
            if isinstance(node, ast.Call) and ast.unparse(node.func) in calls:
                calls[ast.unparse(node.func)].add(module)

    assert attributes["_epoch"] == {"store/caches/pause_rules.py"}
    # What is let go was judged by one epoch, with what each rule has let go; it is told on as such.
    assert calls["Judgement"] == {
        "store/caches/pause_rules.py",
        "store/pausing/letting_go.py",
    }
    assert all(module.startswith("store/") for module in attributes["epoch"])
    # UpdatePauseRule and what counts, and ExplainStep, go by the rules at hand: they write nothing
    # by them. A release asks which rules match beside what it writes, within one judgement. A breaker
    # asks which others may let its probes go, too; what they do is written within one. A canary looks
    # for runs to lock, and judges anew what it lets go in them.
    assert attributes["pauses"] == {
        "store/connection.py",
        "store/pausing/judging.py",
        "engine/operations/canary_line.py",
        "engine/operations/counts.py",
        "engine/operations/let_go.py",
        "engine/operations/probe_breaker.py",
        "engine/operations/update_pause_rule.py",
        "store/reads/known_steps.py",
    }
