"""Pages go on where executions are removed between them."""

from __future__ import annotations

from rig import Rig

from zart_server.store.retention.removing import ALLOW_PURGE


async def test_pages_go_on_where_the_last_execution_of_one_is_removed(rig: Rig) -> None:
    names = [f"e{n}" for n in range(6)]
    for name in names:
        await rig.start(name, {"a": ()})
    found: list[str] = []
    async for page in rig.client.list_executions(page_size=2).pages():
        found += [one.execution_id for one in page.items]
        key = await rig.db.fetchval(
            "SELECT execution_key FROM zart.executions WHERE execution_id = $1", found[-1]
        )
        async with rig.db.transaction():
            await rig.db.execute(ALLOW_PURGE)
            for table in ("runs", "executions"):
                await rig.db.execute(f"DELETE FROM zart.{table} WHERE execution_key = $1", key)

    assert found == names[::-1]
