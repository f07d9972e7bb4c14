"""What an answer has no room for is not unpacked by a claim, which holds the pause lock meanwhile."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

import pytest
from patient import patient_database
from rig import Rig
from unpacking import AS_IT_IS, PACKED, PIECES, SIZE, make_large, pieces_read

import zart
from zart import errors
from zart_server.domain.dispatch import LeasedTask, LeaseTasks
from zart_server.engine.dispatch import task_parts
from zart_server.engine.dispatch.lease import lease_tasks
from zart_server.engine.dispatch.low_water import LowWater
from zart_server.store.connection import Connection
from zart_server.store.db import Database
from zart_server.store.handler_inputs import Upstream, read_upstream
from zart_server.store.pausing.rules import SHARE_PAUSE_LOCK

NAMES = [f"s{n}" for n in range(300)]
FITTING = 4 * 1024 * 1024 // SIZE
WANTED = LeaseTasks("d", ("t",), (), 16, timedelta(0), timedelta(seconds=30))


@pytest.fixture
async def store(zart_database: str) -> AsyncIterator[Database]:
    """The server's database as another server sees it, which has no results at hand."""
    database = await patient_database(zart_database)
    yield database
    await database.close()


async def start_joins(rig: Rig, executions: int, names: Sequence[str]) -> list[str]:
    """Have the last step of some executions wait for others, that are completed."""
    started = [f"x{n}" for n in range(executions)]
    for each in started:
        await rig.start(each, {**dict.fromkeys(names, ()), "join": names})
    await rig.complete(*await rig.lease(1_000), result=1)
    return started


async def leased(store: Database) -> tuple[list[LeasedTask], int]:
    """Lease what there is; gives the pieces of large results that were read for it, too."""
    async with store.transaction(first=SHARE_PAUSE_LOCK) as tx:
        tasks = await lease_tasks(tx, WANTED, LowWater())
        return tasks, await pieces_read(tx)


@pytest.mark.parametrize(("text", "width"), [(PACKED, 300), (AS_IT_IS, 15)])
async def test_a_claim_unpacks_no_more_than_an_answer_has_room_for(
    rig: Rig, store: Database, text: str, width: int
) -> None:
    executions = await start_joins(rig, 3, NAMES[:width])
    await make_large(rig.db, executions, range(width), text)
    tasks, read = await leased(store)

    assert [task.upstream_json for task in tasks] == [dict.fromkeys(NAMES[:FITTING], text)] * 2
    assert {tuple(task.upstream_omitted) for task in tasks} == {tuple(NAMES[FITTING:width])}
    assert await rig.db.fetchval("SELECT count(*) FROM zart.queue") == 1
    # Each text that is sent is read once, or twice where its size had to be found out; and of
    # what is stored in little room some more, until no room is left for it.
    in_vain = 0 if text == AS_IT_IS else 60
    assert 2 * FITTING <= read / PIECES[text] <= 4 * FITTING + in_vain + 1


async def test_what_is_short_is_given_beside_what_has_no_room(rig: Rig, store: Database) -> None:
    (x,) = await start_joins(rig, 1, NAMES)
    await make_large(rig.db, [x], range(290), PACKED)
    ((task,), _) = await leased(store)

    given = [*NAMES[:FITTING], *NAMES[290:]]
    assert list(task.upstream_json) == given
    assert set(task.upstream_omitted) == set(NAMES) - set(given)


async def test_many_results_that_fit_are_all_given(rig: Rig, store: Database) -> None:
    """What they take where they are stored, 3 KB, does not tell that."""
    (x,) = await start_joins(rig, 1, NAMES)
    text = f'"{secrets.token_hex(1_500) * 4}"'
    await make_large(rig.db, [x], range(300), text)
    ((task,), _) = await leased(store)

    assert task.upstream_json == dict.fromkeys(NAMES, text)
    assert not task.upstream_omitted


async def test_tasks_of_very_many_dependencies_are_looked_up_in_pieces(
    rig: Rig, store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up = []

    async def read(
        connection: Connection, wanted: Sequence[tuple[int, int]]
    ) -> dict[tuple[int, int], Upstream]:
        looked_up.append(len(wanted))
        return await read_upstream(connection, wanted)

    monkeypatch.setattr(task_parts, "read_upstream", read)
    monkeypatch.setattr(task_parts, "_RESULTS_AT_ONCE", 15)
    await start_joins(rig, 5, NAMES[:10])
    tasks, _ = await leased(store)
    assert looked_up == [20, 20, 10]
    assert [task.upstream_json for task in tasks] == [dict.fromkeys(NAMES[:10], "1")] * 5


async def test_results_that_are_asked_for_are_not_unpacked_if_they_are_too_many(rig: Rig) -> None:
    names = NAMES[:140]
    await rig.start("x", {**dict.fromkeys(names, ()), "join": names})
    for name in names:  # by hand: what dispatchers report is at hand
        await rig.client.complete_step("x", name, result=1)
    await make_large(rig.db, ["x"], range(140), PACKED)
    (task,) = await rig.lease()
    lease = zart.Lease(task.task_id, task.lease_token)

    with pytest.raises(errors.PayloadTooLarge) as refused:
        await rig.client.get_step_results(lease, names)
    assert int(refused.value.metadata["size"]) < 18 * SIZE
    found = await rig.client.get_step_results(lease, names[:15])
    assert [len(text) for text in found.values()] == [SIZE - 2] * 15
