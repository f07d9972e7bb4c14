"""Counts what releases have let go that nobody has leased, and what they have before them."""

from __future__ import annotations

from typing import NamedTuple

from zart_server.domain.pacing import Line
from zart_server.store.connection import Tx
from zart_server.store.pausing.released import seconds_since, standing
from zart_server.store.statement import Statement


class Counted(NamedTuple):
    """What a release has before it and behind it, and the same as it was counted before."""

    unleased: int
    now: Line
    before: Line
    seconds: float | None  # since the count before; None: there was none


# How many attempts that a rule let go are queued. What another rule withholds by now takes up no
# room: no dispatcher can lease it.
_UNLEASED = f"""
    SELECT count(*) AS unleased FROM zart.released_steps s CROSS JOIN LATERAL (
        SELECT attempt FROM zart.queue
        WHERE run_key = s.run_key AND step_no = s.step_no OFFSET 0) q
    WHERE s.rule_key = :rule_key AND {standing("s")} AND q.attempt = s.attempt
"""
_COUNT = Statement(
    f"""
    SELECT ({_UNLEASED}),
        (SELECT count(*) FROM zart.held WHERE rule_key = :rule_key), released_steps,
        paused_steps, counted_released, {seconds_since("counted_at")}
    FROM zart.pause_releases WHERE rule_key = :rule_key AND ended_at IS NULL
    """
)


async def count_release(tx: Tx, rule_key: int) -> Counted | None:
    """Count what a release let go that is queued and not leased, and what is left.

    This reads the whole line. None: the release has ended.
    """
    row = await tx.fetchrow(_COUNT.text, *_COUNT.arguments(rule_key=rule_key))
    if row is None:
        return None
    return Counted(row[0], Line(row[1], row[2]), Line(row[3], row[4]), row[5])


_NOTE = Statement(
    """
    UPDATE zart.pause_releases
    SET unleased_steps = :unleased, paused_steps = :paused, counted_released = :released,
        is_waiting = :is_waiting, counted_at = statement_timestamp(),
        expected_end_at = statement_timestamp() + :seconds_left::float8 * interval '1 second'
    WHERE rule_key = :rule_key AND ended_at IS NULL
    """,
    locks=("pause_releases",),
)


async def note_counted(
    tx: Tx, rule_key: int, counted: Counted, seconds_left: float | None, *, is_waiting: bool
) -> None:
    """Keep what was counted of a release, for its callers and for the next count.

    The caller holds the pause lock, shared, and the rule's advisory lock.
    """
    values = _NOTE.arguments(
        rule_key=rule_key,
        unleased=counted.unleased,
        paused=counted.now.paused,
        released=counted.now.released,
        is_waiting=is_waiting,
        seconds_left=seconds_left,
    )
    await tx.execute(_NOTE.text, *values)


# What was released since the line was counted is added to what is kept: it is in the count.
_RECOUNT = Statement(
    f"""
    UPDATE zart.pause_releases
    SET unleased_steps = unleased + counted_released - released_steps,
        is_waiting = unleased >= :most::integer,
        expected_end_at = CASE WHEN unleased < :most THEN expected_end_at END
    FROM ({_UNLEASED}) c
    WHERE rule_key = :rule_key AND ended_at IS NULL
    """,
    locks=("pause_releases",),
)


async def recount_unleased(tx: Tx, rule_key: int, most: int) -> None:
    """Count anew only what a release let go that is queued and not leased, and keep that.

    It waits if these are as many as ``most``. What is left stays as it was counted. The caller
    holds the pause lock, shared, and the rule's advisory lock.
    """
    await tx.execute(_RECOUNT.text, *_RECOUNT.arguments(rule_key=rule_key, most=most))
