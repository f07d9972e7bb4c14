"""A rule's receipt: steps are read in pieces of so many, whatever else there is."""

from __future__ import annotations

from datetime import UTC, datetime

from hot.explained import Explained
from hot.pausing import paused
from hot.scenario import BATCH, scenario
from hot.states import MANY
from zart_server.domain.model import PauseScope
from zart_server.domain.receipts import Window
from zart_server.store.reads.receipt_windows import (
    find_gaps,
    find_spans,
    last_run_of,
    read_window,
)
from zart_server.store.reads.receipts import HASHED, judge_steps, name_attempts

OF_ALL = (0, 2**62)  # tokens


async def window_of(tx: Explained, scope: PauseScope, tokens: tuple[int, int] = OF_ALL) -> Window:
    """Add a rule, long after any failover; gives its window, which is between these tokens."""
    key = await paused(tx, scope)
    await tx.sql.execute(
        "UPDATE zart.pause_rules SET token_from = $2, token_until = $3, deleted_at = now(),"
        " created_at = now() - interval '1 day' WHERE rule_key = $1",
        key,
        *tokens,
    )
    await tx.sql.execute("UPDATE zart.history SET joined_at = now() - interval '2 days'")
    return await read_window(
        tx.tx,
        await tx.sql.fetchval("SELECT rule_id FROM zart.pause_rules WHERE rule_key = $1", key),
    )


async def lease_some(tx: Explained) -> None:
    """Have finished steps say by which token they were leased."""
    await tx.sql.execute("SET LOCAL zart.purge = 'on'")
    await tx.sql.execute(
        "UPDATE zart.steps SET lease_token = 2 * run_key + step_no, started_at = now(),"
        " dispatcher_id = 'd' WHERE run_key BETWEEN 900 AND 1100"
    )


@scenario(BATCH)
async def finding_runs_of_a_window(tx: Explained) -> None:
    window = await window_of(tx, PauseScope(None, "many", None))
    assert await last_run_of(tx.tx, window) == 2 * MANY
    found = await find_spans(tx.tx, window, MANY, 2 * MANY, BATCH)
    assert (list(found.spans), found.until) == ([(MANY + 1, MANY + BATCH)], MANY + BATCH)
    assert not await find_gaps(tx.tx, window)


@scenario(BATCH)
async def searching_the_last_run_of_a_window(tx: Explained) -> None:
    window = await window_of(tx, PauseScope(None, None, "a*"))
    last = 2 * MANY - 3_345
    await tx.sql.execute(
        "UPDATE zart.runs SET created_at = now() + interval '1 hour' WHERE run_key > $1", last
    )
    assert last <= await last_run_of(tx.tx, window) < last + 1_655


@scenario(1)
async def finding_runs_of_an_execution(tx: Explained) -> None:
    window = await window_of(tx, PauseScope(f"x-{MANY + 2}", None, None))
    found = await find_spans(tx.tx, window, 0, 2 * MANY, BATCH)
    assert found.spans == [(MANY + 2, MANY + 2)]
    assert not await find_gaps(tx.tx, window)


@scenario(BATCH, first=HASHED)
async def judging_steps_of_a_task(tx: Explained) -> None:
    window = await window_of(tx, PauseScope(None, "many", None))
    await lease_some(tx)
    piece = await judge_steps(tx.tx, window, (1000, -1), 2 * MANY, BATCH)
    # Each fifth has a dead step, whose attempt is not part of it; none of them was released.
    assert (piece.checked, len(piece.violations), piece.upto) == (BATCH, BATCH, (1024, 1))
    assert not piece.is_last
    (first, *_) = await name_attempts(tx.tx, (1000, -1), piece.upto, [2000])
    assert (first.execution_id, first.step_name) == ("x-1000", "a")


@scenario(BATCH, first=HASHED)
async def judging_some_steps_that_were_exempt(tx: Explained) -> None:
    window = await window_of(tx, PauseScope(None, None, "a*"))
    await lease_some(tx)
    await tx.sql.execute(
        "INSERT INTO zart.pause_exemptions (rule_key, execution_id, token_from)"
        " SELECT $1, 'x-' || n, 0 FROM generate_series(1, 1000) n",
        window.rule_key,
    )
    await tx.sql.execute(
        "INSERT INTO zart.released_steps (rule_key, run_key, step_no, attempt, token_from)"
        " SELECT $1, n, 0, 1, 0 FROM generate_series(1001, 5000) n",
        window.rule_key,
    )
    piece = await judge_steps(tx.tx, window, (990, -1), 2 * MANY, BATCH)
    assert (piece.checked, piece.exempt, piece.released, piece.violations) == (25, 11, 14, ())


@scenario(BATCH, first=HASHED)
async def judging_nothing_but_unfinished_steps(tx: Explained) -> None:
    ended = datetime(2020, 1, 1, tzinfo=UTC)
    window = await window_of(tx, PauseScope(None, None, "b*"))
    piece = await judge_steps(tx.tx, window, (2 * MANY - 10, -1), 2 * MANY, BATCH)
    assert (piece.checked, piece.is_last, piece.last_before) == (0, True, None)
    assert window.ended_at is not None
    assert window.ended_at > ended
