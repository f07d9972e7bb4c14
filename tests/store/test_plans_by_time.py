"""What is found by its time is found by the index of times."""

from __future__ import annotations

from typing import Any, cast

from plans import explained

from zart_server.store.db import BY_TIME
from zart_server.store.requests import purge_requests


async def test_purging_requests(many: str) -> None:
    async with explained(many, first=BY_TIME) as tx:
        await purge_requests(cast("Any", tx), 1000)

        (plan,) = tx.plans
        assert not plan.whole
        assert "requests_by_time" in plan.indexes


async def test_snapshots_may_look_by_time(many: str) -> None:
    async with explained(many, snapshot=True) as tx:
        await tx.fetch(
            "SELECT count(*) FROM zart.executions WHERE created_at < now() - interval '1 day'"
        )

        (plan,) = tx.plans
        assert not plan.whole
        assert "executions_by_time" in plan.indexes
