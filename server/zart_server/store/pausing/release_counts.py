"""Counts what releases have let go that nobody has leased, and what they have before them."""

from __future__ import annotations

from typing import NamedTuple

from zart_server.domain.pacing import Line, NotDue
from zart_server.store.connection import Tx
from zart_server.store.pausing.released import seconds_since, standing
from zart_server.store.pausing.releases import StandingRelease
from zart_server.store.statement import Statement


class Counted(NamedTuple):
    """What a release has before it and behind it, and the same as it was counted before."""

    unleased: int
    now: Line
    not_due: NotDue
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
# Compared as a whole, as no other index has it: what is due of the line, and what is not.
_DUE = """zart.held WHERE (rule_key, not_before) >= (:rule_key::bigint, '-infinity'::timestamptz)
    AND (rule_key, not_before) <= (:rule_key, statement_timestamp())"""
_NOT_DUE = """zart.held WHERE (rule_key, not_before) > (:rule_key::bigint, statement_timestamp())
    AND (rule_key, not_before) < (:rule_key + 1, '-infinity'::timestamptz)"""
_END_OF_LINE = f"""(
    SELECT EXTRACT(epoch FROM not_before - statement_timestamp())::float8 FROM {_NOT_DUE}
    ORDER BY rule_key {{way}}, not_before {{way}}, queue_no {{way}} LIMIT 1)"""
# One after the other, the two counts go through the line once, as one count of all would.
_COUNT = Statement(
    f"""
    SELECT ({_UNLEASED}),
        (SELECT count(*) FROM {_DUE}), released_steps,
        (SELECT count(*) FROM {_NOT_DUE}),
        COALESCE({_END_OF_LINE.format(way="ASC")}, 0),
        COALESCE({_END_OF_LINE.format(way="DESC")}, 0),
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
    unleased, due, released, later, first, last, *before, seconds = row
    return Counted(
        unleased, Line(due + later, released), NotDue(later, first, last), Line(*before), seconds
    )


# Of the release that was counted, at its rate.
_SAME = """rule_key = :rule_key AND ended_at IS NULL AND started_at = :started_at
      AND rate_per_second = :rate"""
_NOTE = Statement(
    f"""
    UPDATE zart.pause_releases
    SET unleased_steps = :unleased, paused_steps = :paused, counted_released = :released,
        is_waiting = :is_waiting, counted_at = statement_timestamp(),
        expected_end_at = statement_timestamp() + :seconds_left::float8 * interval '1 second'
    WHERE {_SAME}
    """,
    locks=("pause_releases",),
)


async def note_counted(
    tx: Tx,
    release: StandingRelease,
    counted: Counted,
    seconds_left: float | None,
    *,
    is_waiting: bool,
) -> None:
    """Keep what was counted of a release, for its callers and for the next count.

    Unless it was stopped since, or has another rate. The caller holds the pause lock, shared, and
    has had the rule's advisory lock since before the count.
    """
    values = _NOTE.arguments(
        rule_key=release.rule_key,
        started_at=release.started_at,
        rate=release.rate,
        unleased=counted.unleased,
        paused=counted.now.paused,
        released=counted.now.released,
        is_waiting=is_waiting,
        seconds_left=seconds_left,
    )
    await tx.execute(_NOTE.text, *values)


_COUNT_UNLEASED = Statement(_UNLEASED)


async def count_unleased(tx: Tx, rule_key: int) -> int:
    """Count only what a release let go that is queued and not leased."""
    values = _COUNT_UNLEASED.arguments(rule_key=rule_key)
    found: int = await tx.fetchval(_COUNT_UNLEASED.text, *values)
    return found


# What was released since the line was counted is added to what is kept: it is in the count.
_NOTE_UNLEASED = Statement(
    f"""
    UPDATE zart.pause_releases
    SET unleased_steps = :unleased::integer + counted_released - released_steps,
        is_waiting = :is_waiting::boolean,
        expected_end_at = CASE WHEN NOT :is_waiting THEN expected_end_at END
    WHERE {_SAME}
    """,
    locks=("pause_releases",),
)


async def note_unleased(
    tx: Tx, release: StandingRelease, unleased: int, *, is_waiting: bool
) -> None:
    """Keep how much of a release is queued and not leased; what is left stays as it was counted.

    As ``note_counted``.
    """
    values = _NOTE_UNLEASED.arguments(
        rule_key=release.rule_key,
        started_at=release.started_at,
        rate=release.rate,
        unleased=unleased,
        is_waiting=is_waiting,
    )
    await tx.execute(_NOTE_UNLEASED.text, *values)
