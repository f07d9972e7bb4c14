"""What is done for many callers is within the trace of none of them, long after its call."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Any

import pytest
from rig import Rig
from tracing import traced
from waiting import GIVE_UP

from zart.trace_context import current_ids
from zart_server.engine.background import watches
from zart_server.engine.background.state_watches import StateWatches
from zart_server.store.reads.executions import get_executions


async def test_an_execution_is_read_for_its_watches_within_no_trace(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, str] | None] = []

    async def seeing(*arguments: Any) -> Any:
        seen.append(current_ids())
        return await get_executions(*arguments)

    monkeypatch.setattr(watches, "get_executions", seeing)
    await rig.start("x", {"a": ()})
    with traced(7):
        async with aclosing(rig.client.watch_execution("x")) as states:
            await anext(states)
            await rig.client.cancel_execution("x")
            await anext(states)
    assert len(seen) > 1
    assert set(seen) == {None}


async def test_what_is_small_is_read_for_its_watches_within_no_trace() -> None:
    seen: dict[str, tuple[str, str] | None] = {}  # by the name of who reads

    async def read(keys: Sequence[str]) -> Mapping[str, int]:
        task = asyncio.current_task()
        assert task is not None
        seen[task.get_name()] = current_ids()
        return dict.fromkeys(keys, len(seen))

    small: StateWatches[str, int] = StateWatches(read, "watches")
    with traced(7):
        async with (
            asyncio.timeout(GIVE_UP),
            aclosing(small.watch("x", lambda _state: len(seen) > 1)) as states,
        ):
            async for _ in states:
                small.look()
    small.stop()
    assert seen == {"watches": None, "watches: at once": None}
