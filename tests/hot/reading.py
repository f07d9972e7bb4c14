"""Reads of single executions, and what is found by time."""

from __future__ import annotations

from hot.explained import Explained
from hot.scenario import scenario
from hot.states import MANY
from zart_server.store.reads.executions import get_execution


@scenario(1)
async def reading_executions(tx: Explained) -> None:
    for number in (1, 5, MANY + 1, MANY + 2):
        view = await get_execution(tx.tx, f"x-{number}", None)
        assert len(view.steps) == 2
