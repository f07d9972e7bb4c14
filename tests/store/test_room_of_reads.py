"""What an answer has no room for is not read to find that out."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import pytest
from rig import Rig
from unpacking import AS_IT_IS, PACKED, PIECES, SIZE, make_large, pieces_read

from zart_server.store.db import Database
from zart_server.store.definitions import find_definitions
from zart_server.store.reads.executions import get_execution
from zart_server.store.reads.results import run_result
from zart_server.store.reads.steps import RunIdentity


async def completed(rig: Rig, names: Sequence[str], text: str) -> None:
    """Have an execution x of so many steps, none of which depends on another one."""
    await rig.start("x", dict.fromkeys(names, ()))
    await rig.work()
    await make_large(rig.db, ["x"], range(len(names)), text)


async def result_of_x(store: Database) -> tuple[str | None, int]:
    """Return the result of x, and how many pieces of large ones were read."""
    async with store.transaction(snapshot=True) as tx:
        row = await tx.fetchrow("SELECT run_key, definition_key FROM zart.runs")
        assert row is not None
        definition = (await find_definitions(tx, [row[1]]))[row[1]]
        result = await run_result(tx, RunIdentity(row[0], "x", "t", definition))
        return result, await pieces_read(tx)


@pytest.mark.parametrize(("text", "width"), [(PACKED, 100), (AS_IT_IS, 20)])
async def test_of_a_result_that_is_too_large_no_more_is_read_than_shows_it(
    rig: Rig, store: Database, text: str, width: int
) -> None:
    await completed(rig, [f"s{n}" for n in range(width)], text)
    result, read = await result_of_x(store)
    assert result is None
    assert read / PIECES[text] <= 4 * 1024 * 1024 / SIZE + 3


@pytest.mark.parametrize("text", [PACKED, AS_IT_IS])
async def test_a_result_that_just_fits_is_whole(rig: Rig, store: Database, text: str) -> None:
    await completed(rig, ["a", "b", "c", "d"], text)
    result, _ = await result_of_x(store)
    assert result == f'{{"a":{text},"b":{text},"c":{text},"d":{text}}}'


_ATTEMPTS = """
    INSERT INTO zart.attempts (run_key, step_no, attempt, status, swept, dispatcher_id, principal,
        lease_token, error, started_at, completed_at)
    SELECT run_key, s, n, 'failed', false, 'd', '', 0,
        json_build_object('type', 'T', 'message', n::text, 'details', $3::text), now(), now()
    FROM zart.runs, generate_series(0, $1::integer - 1) s, generate_series(1, $2::integer) n
"""


async def test_of_errors_that_have_no_room_the_details_are_not_read(
    rig: Rig, store: Database
) -> None:
    await rig.start("x", {f"s{n}": () for n in range(100)})
    await rig.db.execute(_ATTEMPTS, 100, 10, secrets.token_hex(6_000))
    async with store.transaction(snapshot=True) as tx:
        view = await get_execution(tx, "x", None)
        read = await pieces_read(tx)

    assert [step.errors_omitted for step in view.steps] == [False] * 34 + [True] * 66
    sizes = {len(one.error.details) for step in view.steps for one in step.attempts if one.error}
    assert sizes == {12_000, 0}
    # Seven pieces each: of those that fit twice, to measure and to tell; of the others twice, for
    # the type and for the message.
    assert read <= 7 * 1_000 * 2 + 7 * 20


async def test_attempts_past_those_that_are_told_are_not_counted(rig: Rig, store: Database) -> None:
    await rig.start("x", {f"s{n}": () for n in range(60)})
    await rig.db.execute(_ATTEMPTS, 60, 1_000, "")
    await rig.db.execute("UPDATE zart.queue SET attempt = 1001")
    async with store.transaction(snapshot=True) as tx:
        view = await get_execution(tx, "x", None)
        looked_at = await tx.fetchval(
            "SELECT sum(pg_stat_get_xact_tuples_fetched(indexrelid))::bigint FROM pg_index"
            " WHERE indrelid = 'zart.attempts'::regclass"
        )

    assert [len(step.attempts) for step in view.steps] == [1_000] * 10 + [1] * 50
    assert [step.errors_omitted for step in view.steps] == [False] * 10 + [True] * 50
    assert looked_at < 45_000  # of 60,000
