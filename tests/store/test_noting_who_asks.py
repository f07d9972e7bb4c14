"""That a task is asked for is written once by all servers together, however many ask for it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from zart_server.store.db import Database
from zart_server.store.definitions import touch_asked

FRESH_FOR = 3600.0  # seconds


async def version_of(store: Database, task_name: str) -> str:
    """Return which version of its row a task has: each write makes a new one."""
    async with store.autocommit() as connection:
        found: str = await connection.fetchval(
            "SELECT ctid::text || xmin FROM zart.task_names WHERE task_name = $1", task_name
        )
    return found


async def test_what_was_noted_a_moment_ago_is_not_written_again(store: Database) -> None:
    async with store.autocommit() as connection:
        await touch_asked(connection, ["a"], FRESH_FOR)
    before = await version_of(store, "a")

    async with store.autocommit() as connection:  # another server, of which one name is new
        await touch_asked(connection, ["a", "b"], FRESH_FOR)
        assert await connection.fetchval(
            "SELECT last_asked_at IS NOT NULL FROM zart.task_names WHERE task_name = 'b'"
        )

    assert await version_of(store, "a") == before


@pytest.mark.parametrize("ago", [timedelta(seconds=FRESH_FOR), timedelta(hours=-1)])
async def test_what_was_noted_before_is_noted_again(store: Database, ago: timedelta) -> None:
    """As is what was noted at a time to come, by the clock of another database."""
    async with store.autocommit() as connection:
        await touch_asked(connection, ["a"], FRESH_FOR)
        await connection.execute(
            "UPDATE zart.task_names SET last_asked_at = statement_timestamp() - $1::interval", ago
        )
        await touch_asked(connection, ["a"], FRESH_FOR)
        age = await connection.fetchval(
            "SELECT statement_timestamp() - last_asked_at FROM zart.task_names"
        )

    assert timedelta(0) <= age < timedelta(seconds=FRESH_FOR)
