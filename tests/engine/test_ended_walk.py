"""The one way through finished executions: each is looked at once, and a cut-off pass goes on."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import asyncpg
import pytest
from batching import start_many
from google.protobuf.duration_pb2 import Duration
from retaining import end_old, left, put_in_doubt, refuse_removal, sweep
from rig import Rig

from zart.testing.server import ServerUnderTest
from zart.v1 import retention_service_pb2 as pb
from zart_server.api.page_tokens import encode_cursor
from zart_server.api.purge_tokens import purge_cursor
from zart_server.domain.ended_cursor import FROM_THE_OLDEST, EndedCursor
from zart_server.domain.errors import InvalidField
from zart_server.engine.operations.ended_walk import EndedWalk
from zart_server.store.retention.tasks import read_kept

_COME_TO = "SELECT come_to FROM zart.retention_passes"
_PIECE = 20


@pytest.mark.parametrize("tasks", [None, ["a", "t", "u"]])
async def test_each_is_looked_at_once_wherever_it_is_gone_on(
    rig: Rig, zart_server: ServerUnderTest, tasks: list[str] | None
) -> None:
    await start_many(rig.client, 45)
    for n in range(3):
        await rig.start(f"u-{n}", {"a": ()}, task="u")
    await rig.db.execute(
        "UPDATE zart.runs SET status = 'failed', completed_at = statement_timestamp()"
        " WHERE run_key % 2 = 0"
    )
    await end_old(rig.db)

    async def go() -> list[tuple[str, int]]:
        seen: list[tuple[str, int]] = []
        cursor = FROM_THE_OLDEST
        async with zart_server.running.runtime.db.autocommit() as connection:
            now, _ = await read_kept(connection)
            while True:  # as calls do, each by another server
                walk = EndedWalk(cursor, tasks)
                name = await walk.task(connection)
                if name is None:
                    return seen
                looked = await walk.look(connection, now - timedelta(days=30), _PIECE)
                seen += [(name, one.position.execution_key) for one in looked]
                cursor = EndedCursor.of_positions(walk.cursor.to_positions())

    seen = await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(go(), zart_server.loop))
    rows = await rig.db.fetch("SELECT task_name, execution_key FROM zart.executions")
    assert sorted(seen) == sorted(map(tuple, rows))


@pytest.mark.parametrize(
    "positions",
    [
        [4], ["t", "completed"], ["t", "completed", 1], ["t", "completed", "x", 1],
        ["t", "running", 1, 1], ["t", "gone", 1, 1], ["t", "completed", 2**62, 1],
        ["u"], ["u", "completed", 1, 1],
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_cursor_is_refused(positions: list[int | str]) -> None:
    request = pb.PurgeExecutionsRequest(older_than=Duration(seconds=9), task_name="t")
    assert purge_cursor(request, timedelta(seconds=9)) == FROM_THE_OLDEST
    request.page_token = encode_cursor(request, ("t",))
    assert purge_cursor(request, timedelta(seconds=9)) == EndedCursor("t")
    request.page_token = encode_cursor(request, tuple(positions))
    with pytest.raises(InvalidField):
        purge_cursor(request, timedelta(seconds=9))


async def test_a_pass_that_was_cut_off_is_gone_on_with(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    """Many that stay are not looked at again, by whichever server, before the pass is over."""
    await rig.client.set_retention("t", timedelta(days=30))
    await sweep(zart_server)  # from here on it does nothing by itself
    await start_many(rig.client, 300, "kept")
    await put_in_doubt(rig.db, "t")
    await end_old(rig.db, days=10)
    await start_many(rig.client, 2)
    await end_old(rig.db)
    zart_server.running.runtime.retention._executions.next = _PIECE
    await refuse_removal(rig.db)
    with pytest.raises(asyncpg.RaiseError, match="not now"):
        await sweep(zart_server)
    name, _, _, come_to = json.loads(await rig.db.fetchval(_COME_TO))
    gone_past = "SELECT count(*) FROM zart.executions WHERE execution_key <= $1"
    there = await rig.db.fetchval(gone_past, come_to)
    assert (name, there >= _PIECE) == ("t", True)

    await rig.db.execute(
        "UPDATE zart.in_doubt SET resolved_at = statement_timestamp(), resolved_by = 1"
    )
    await rig.db.execute("DROP TRIGGER refused ON zart.executions")
    await sweep(zart_server)
    assert len(await left(rig.db)) == there
    assert json.loads(await rig.db.fetchval(_COME_TO)) == [""]
    await sweep(zart_server)
    assert await left(rig.db) == []


async def test_one_whose_removal_fails_keeps_no_other(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    """Nor does one before it, of another task, that is looked at and stays."""
    for task in ("a", "t"):
        await rig.client.set_retention(task, timedelta(days=30))
    await sweep(zart_server)
    await start_many(rig.client, 3)
    await rig.start("young", {"a": ()}, task="a")
    await end_old(rig.db)
    await rig.db.execute(
        "UPDATE zart.runs SET completed_at = statement_timestamp() WHERE listed_task = 'a'"
    )
    await refuse_removal(rig.db, execution_id="x-0")
    with pytest.raises(asyncpg.RaiseError, match="not now"):
        await sweep(zart_server)  # of several together nobody knows which it is
    await sweep(zart_server)
    assert await left(rig.db) == ["x-0", "young"]
