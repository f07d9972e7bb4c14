"""A release is counted while rules change: nobody waits for a count, nor is it taken for another's."""

from __future__ import annotations

from typing import Any

import pytest
from releasing import paused, until_released
from rig import Rig, eventually

from zart_server.engine.background import release_counts
from zart_server.store.db import Database
from zart_server.store.pausing.releases import standing_releases
from zart_server.store.pausing.work import has_rule_to_itself


@pytest.mark.parametrize("alone", [False, True])
async def test_a_release_may_be_stopped_and_begun_anew_meanwhile(
    rig: Rig,
    zart_database: str,
    monkeypatch: pytest.MonkeyPatch,
    alone: bool,  # noqa: FBT001 - parametrized
) -> None:
    """``alone``: only what is not leased is counted."""
    name = "count_unleased" if alone else "count_release"
    counting = getattr(release_counts, name)
    rule_id = await paused(rig)
    await rig.start("x", {f"s{n}": () for n in range(6)})
    await rig.client.resume(rule_id=rule_id, rate_per_second=0.01)
    await until_released(rig, 1)

    async def count_meanwhile(*args: Any) -> Any:
        found = await counting(*args)
        await rig.client.stop_release(rule_id)
        await rig.client.resume(rule_id=rule_id, rate_per_second=0.01)
        return found

    db = await Database.open(zart_database)
    async with db.transaction() as tx:
        await tx.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        ((key, release),) = (await standing_releases(tx)).items()

        async def is_alone() -> bool:
            return await has_rule_to_itself(tx, key)

        await eventually(is_alone)  # the server does nothing for the rule from here on
        monkeypatch.setattr(release_counts, name, count_meanwhile)
        await (release_counts.recount if alone else release_counts.count)(tx, release)
        noted = await tx.fetchval(
            "SELECT count(*) FROM zart.pause_releases"
            " WHERE counted_at IS NOT NULL OR unleased_steps > 0"
        )
    await db.close()
    assert noted == 0
