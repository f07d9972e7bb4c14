"""A purge of what takes long to remove ends, by calls that are short whatever they remove."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from batching import start_many
from retaining import end_old, left, slow_down
from rig import Rig

import zart
from zart.errors import OperationTimeout
from zart.models import Purged
from zart.testing.server import serving

MONTH = timedelta(days=30)


@pytest.fixture
async def hurried(zart_database: str) -> AsyncIterator[zart.Client]:
    """A client of a server whose operations have three seconds."""
    with serving(zart_database, operation_timeout=3.0) as server:
        async with zart.connect(server.address) as client:
            yield client


async def purge(client: zart.Client, page_token: str, request_id: str) -> Purged:
    """Purge a little; again, up to twice, where the machine took the time that the call has."""
    for _ in range(2):
        with contextlib.suppress(OperationTimeout):
            return await client.purge_executions(
                MONTH, page_token=page_token, request_id=request_id
            )
    return await client.purge_executions(MONTH, page_token=page_token, request_id=request_id)


async def purged(client: zart.Client) -> list[int]:
    """Purge what ended a month ago by as many calls as it takes; return how many each removed."""
    counts: list[int] = []
    token = ""
    while token or not counts:
        found = await purge(client, token, f"call-{len(counts)}")
        counts.append(found.removed_executions)
        token = found.next_page_token
    return counts


async def test_each_call_removes_what_it_has_the_time_for(rig: Rig, hurried: zart.Client) -> None:
    await start_many(rig.client, 120)
    await end_old(rig.db)
    await slow_down(rig.db, 0.03)
    counts = await purged(hurried)
    assert await left(rig.db) == []
    assert sum(counts) == 120
    # Whoever starts one anew waits for the end of a call: half a second, and a piece at most.
    assert max(counts) <= 0.75 / 0.03
    (operation,) = await rig.client.list_operations(kind="PURGE")
    assert operation.made is not None
    assert operation.made.removed_executions == 120


async def test_slow_ones_behind_many_quick_ones_are_reached(rig: Rig, hurried: zart.Client) -> None:
    await start_many(rig.client, 3, "slow")
    await end_old(rig.db, days=-1)  # younger than those that follow
    await start_many(rig.client, 150, "quick")
    await end_old(rig.db)
    await slow_down(rig.db, 0.6, execution_id="slow%")
    counts = await purged(hurried)
    assert await left(rig.db) == []
    # What was removed before the piece that took too long stays removed.
    assert next(count for count in counts if count > 1) >= 10
    assert sum(counts) == 153
