"""A failover that loses some of what a pause sweep has moved aside has it begin anew."""

from __future__ import annotations

import pytest
from lanes import queue
from waiting import GIVE_UP

from zart_server.domain.commands import Caller
from zart_server.domain.model import PauseScope
from zart_server.engine.background import pause_sweeps
from zart_server.engine.background.pause_sweeps import PauseSweeps
from zart_server.store.connection import Tx
from zart_server.store.db import Database
from zart_server.store.pausing.lock import seize_pause_lock
from zart_server.store.pausing.rules import insert_rule
from zart_server.store.pausing.work import has_rule_to_itself
from zart_server.store.queue import TASK_COLUMNS

BACK = f"""
    WITH back AS (DELETE FROM zart.held RETURNING {TASK_COLUMNS})
    INSERT INTO zart.queue ({TASK_COLUMNS}) SELECT {TASK_COLUMNS} FROM back
"""


async def lose(store: Database, sweeps: PauseSweeps) -> None:
    """Have nothing be moved aside; the next connection finds that what was until now is lost."""
    async with store.autocommit() as connection:
        await connection.execute(BACK)
    store._history = sweeps._history = "lost"
    await store._pool.expire_connections()


@pytest.mark.parametrize(
    ("batches", "piece"),
    [
        (1, 3),  # the first lane is done with; another turn goes on
        (5, 4),  # in one turn, in its last piece
    ],
)
async def test_what_is_back_in_the_queue_is_moved_aside_again(
    store: Database, monkeypatch: pytest.MonkeyPatch, batches: int, piece: int
) -> None:
    await queue(store, 2, 3)
    async with store.autocommit() as connection:
        tx = await seize_pause_lock(connection, GIVE_UP)
        assert await insert_rule(tx, "pr-1", PauseScope(None, "t", None), None, caller=Caller())
    sweeps = PauseSweeps(store)
    begun: list[int] = []

    async def is_alone(tx: Tx, rule_key: int) -> bool:
        begun.append(rule_key)
        if len(begun) == piece:
            await lose(store, sweeps)
        return await has_rule_to_itself(tx, rule_key)

    monkeypatch.setattr(pause_sweeps, "has_rule_to_itself", is_alone)
    monkeypatch.setattr(pause_sweeps, "_BATCHES", batches)
    async with store.autocommit() as connection:
        while await connection.fetchval("SELECT EXISTS (SELECT FROM zart.pause_work)"):
            await sweeps.turn()
        assert await connection.fetchval("SELECT count(*) FROM zart.queue") == 0
        assert await connection.fetchval("SELECT count(*) FROM zart.held") == 6
    assert len(begun) > 4
