"""Results of dependencies reach handlers as they were reported, letter by letter, and are measured."""

from __future__ import annotations

import pytest
from unpacking import AS_IT_IS, PACKED, SIZE, pieces_read

from zart_server.domain.step_resolution import StepResolution
from zart_server.store.db import Database
from zart_server.store.handler_inputs import (
    READ_AT_ONCE,
    Upstream,
    measure,
    read_large,
    read_upstream,
)

ODD = '{"a" :  1.50e1, "a": "\\u00e4ä", "b":[ ]}'
JUST_SHORT = f'"{"x" * (READ_AT_ONCE - 2)}"'
JUST_LONG = f'"{"ä" * (READ_AT_ONCE // 2 - 1)}x"'  # in bytes; half as many letters
LONG = f'"{"long " * 200_000}"'
SKIPPED, BY_HAND = StepResolution.SKIPPED_BY_OPERATOR, StepResolution.COMPLETED_BY_OPERATOR
# Step number, result, who completed it, and the run where the result of a preserved one stands.
STEPS: tuple[tuple[int, str | None, StepResolution | None, int | None], ...] = (
    (0, ODD, None, None),
    (1, "null", SKIPPED, None),
    (2, None, None, 1),
    (3, JUST_SHORT, BY_HAND, None),
    (4, JUST_LONG, None, None),
    (5, LONG, None, None),
    (6, None, None, None),
)
_INSERT = """
    INSERT INTO zart.steps (run_key, step_no, status, pending_deps, result, resolution,
        source_run_key, completed_at)
    VALUES ($1, $2, 'completed', 0, $3, $4, $5, statement_timestamp())
"""


async def test_each_result_is_its_own_text_where_it_is_short(store: Database) -> None:
    steps = [(2, *step) for step in STEPS]
    async with store.transaction() as tx:
        await tx.executemany(_INSERT, [(1, 2, '{"kept":1}', None, None), *steps])
        found = await read_upstream(tx, [(2, number) for number, *_ in STEPS])
        long = await read_large(tx, [], [(2, 4), (2, 5)])

    assert found == {
        (2, 0): Upstream(ODD, len(ODD.encode()), is_skipped=False),
        (2, 1): Upstream("null", 4, is_skipped=True),
        (2, 2): Upstream('{"kept":1}', 10, is_skipped=False),
        (2, 3): Upstream(JUST_SHORT, READ_AT_ONCE, is_skipped=False),
        (2, 4): Upstream(None, READ_AT_ONCE + 1, is_skipped=False),
        (2, 5): Upstream(None, len(LONG), is_skipped=False),
        (2, 6): Upstream(None, 0, is_skipped=False),
    }
    assert long == {(2, 4): JUST_LONG, (2, 5): LONG}


@pytest.mark.parametrize(("text", "count"), [(PACKED, 150), (AS_IT_IS, 10)])
async def test_many_large_results_are_not_unpacked_until_they_are_measured(
    store: Database, text: str, count: int
) -> None:
    """What is stored as it is has its size all the same."""
    keys = [(1, number) for number in range(count)]
    async with store.transaction() as tx:
        await tx.execute(
            "INSERT INTO zart.steps (run_key, step_no, status, pending_deps, result, completed_at)"
            " SELECT 1, n, 'completed', 0, $1::json, statement_timestamp()"
            " FROM generate_series(0, $2::integer - 1) n",
            text,
            count,
        )
        before = await pieces_read(tx)
        found = await read_upstream(tx, keys)
        read = await pieces_read(tx) - before
        measured = await measure(tx, keys[::-1], 3 * SIZE)

    assert found.keys() == set(keys)
    assert read == 0
    sizes = {(result.text, result.size < SIZE, result.is_measured) for result in found.values()}
    assert sizes == {(None, text == PACKED, text == AS_IT_IS)}
    assert measured == dict.fromkeys(keys[-4:], Upstream(None, SIZE, is_skipped=False))
