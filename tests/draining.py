"""What tests of drains look at: the server's looks at what is in flight, and what is on record."""

from __future__ import annotations

from rig import Rig, eventually


async def drains_on_record(rig: Rig) -> list[tuple[str, str]]:
    """Return the rules that were drained, and by whom."""
    operations = await rig.client.list_operations(kind="drain")
    return [(operation.rule_id, operation.triggered_by) for operation in operations]


async def until_looked_at(rig: Rig, looks: int = 2) -> None:
    """Wait until the server has looked at all leases so many times more."""
    sql = "SELECT seq_scan FROM pg_stat_user_tables WHERE relid = 'zart.leases'::regclass"

    async def seen() -> int:
        await rig.db.execute("SELECT pg_stat_clear_snapshot()")
        found: int = await rig.db.fetchval(sql)
        return found

    before = await seen()

    async def are_seen() -> bool:
        return await seen() >= before + looks

    await eventually(are_seen)
