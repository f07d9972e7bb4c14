"""Expiry: a server ends all rules whose time is up, however many, in transactions that are short."""

from __future__ import annotations

from rig import Rig, eventually

from zart_server.engine.operations.expire import AT_ONCE

NUMBER = 2 * AT_ONCE + 50
OVER = """
    INSERT INTO zart.pause_rules (rule_id, task_name, everything, created_by, reason, epoch,
        expires_at, token_from)
    SELECT 'pr-' || n, 't-' || n, false, 'op', '', 0, now(), 0 FROM generate_series(1, $1::int) n
"""
# A transaction ends its rules by one statement, at one moment.
TOGETHER = "SELECT count(*) AS n FROM zart.pause_rules WHERE expired GROUP BY deleted_at ORDER BY n"


async def test_rules_that_are_over_at_once_end_some_at_a_time(rig: Rig) -> None:
    await rig.db.execute(OVER, NUMBER)

    async def have_ended() -> bool:
        return await rig.client.list_pause_rules() == []

    await eventually(have_ended)
    together = [row["n"] for row in await rig.db.fetch(TOGETHER)]
    assert sum(together) == NUMBER
    assert together[-1] <= AT_ONCE
    recorded = await rig.db.fetchval(
        "SELECT count(DISTINCT rule_id) FROM zart.operations WHERE kind = 'expire'"
    )
    assert recorded == NUMBER
