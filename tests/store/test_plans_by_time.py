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
