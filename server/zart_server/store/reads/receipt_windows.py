"""Reads the window of a pause rule's receipt, and the runs that may have leased something in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from zart_server.domain.errors import PauseRuleNotFound
from zart_server.domain.receipts import ReceiptGap, Window
from zart_server.store.connection import Connection
from zart_server.store.statement import Statement

# Runs are chosen by their times, with this much to spare: a statement's time is taken when it
# begins, and it may wait before it does what it says. What they leased is judged by tokens.
_MARGIN = timedelta(minutes=5)
# By how much a clock may be set back at once, as that of a replica which is promoted. The times of
# what happened before are then not to be compared with those of what happened since.
_SET_BACK = timedelta(hours=1)
_NEAR = 1_000  # run keys: no search is worth fewer
_CLOSE = 100  # run keys: to leave the runs between out is not worth a piece of its own


# Each failover, and each start of PostgreSQL, begins another history, which is joined by the clock
# that counts from then on.
_WINDOW = """
    SELECT rule_key, execution_id, task_name, step_regex, created_at, deleted_at, token_from,
        token_until, created_at <= LEAST(deleted_at, statement_timestamp()) AND NOT EXISTS (
            SELECT FROM zart.history WHERE joined_at > r.created_at - $2::interval) AS is_by_times
    FROM zart.pause_rules r WHERE rule_id = $1
"""


async def read_window(connection: Connection, rule_id: str) -> Window:
    """Return the window of a rule, deleted or not. Raises PauseRuleNotFound.

    The last token is read before the rule: if the rule is active then, it was when that token was
    given out. The other way round it may have ended in between, and others been leased.
    """
    last_token = await connection.fetchval("SELECT zart.last_token()")
    row = await connection.fetchrow(_WINDOW, rule_id, _SET_BACK)
    if row is None:
        raise PauseRuleNotFound(rule_id)
    return Window(
        row["rule_key"],
        row["execution_id"],
        row["task_name"],
        row["step_regex"],
        row["created_at"],
        row["deleted_at"],
        row["token_from"],
        last_token if row["deleted_at"] is None else row["token_until"],
        row["is_by_times"],
    )


async def last_run_of(connection: Connection, window: Window) -> int:
    """Return a run key beyond which no run has leased anything by the end of a window.

    Keys are given out in order, and before the tokens of what a run leases: if a run was begun
    after the window, so was every run with a greater key. Read after the window was.
    """
    first, last = await connection.fetchrow(
        "SELECT COALESCE((SELECT run_key FROM zart.runs WHERE run_key >= 0"
        " ORDER BY run_key LIMIT 1), 0), COALESCE((SELECT run_key FROM zart.runs"
        " WHERE run_key >= 0 ORDER BY run_key DESC LIMIT 1), 0)"
    ) or (0, 0)
    if window.ended_at is None or not window.is_by_times:
        return int(last)
    while last - first > _NEAR:
        middle = first + (last - first) // 2
        run_key, is_later = await connection.fetchrow(
            "SELECT run_key, created_at > $2 FROM zart.runs WHERE run_key >= $1"
            " ORDER BY run_key LIMIT 1",
            middle,
            window.ended_at + _MARGIN,
        ) or (middle, True)
        first, last = (first, middle) if is_later else (run_key, last)
    return int(last)


@dataclass(frozen=True, slots=True)
class Spans:
    """Where runs are that lived about a window, first and last, and how far was looked for them."""

    spans: Sequence[tuple[int, int]]
    until: int


# Of a run: that it lived about a window.
LIVED = """created_at <= COALESCE(:before::timestamptz, 'infinity')
    AND (completed_at IS NULL OR completed_at >= COALESCE(:since::timestamptz, '-infinity'))"""
# A row for so many keys: of two runs that lived, but farther apart, steps between are left out.
_SPANS = Statement(
    f"""
    SELECT max(run_key) AS until,
        min(run_key) FILTER (WHERE lived) AS first, max(run_key) FILTER (WHERE lived) AS last
    FROM (
        SELECT run_key, {LIVED} AND (:task_name::text IS NULL OR listed_task = :task_name) AS lived
        FROM zart.runs WHERE run_key > :after::bigint AND run_key <= :last::bigint
        ORDER BY run_key LIMIT :limit::bigint) r
    GROUP BY run_key / {_NEAR} ORDER BY until
    """
)
_RUNS_OF_EXECUTION = Statement(
    f"""
    SELECT run_key FROM zart.runs
    WHERE execution_key = (
        SELECT execution_key FROM zart.executions WHERE execution_id = :execution_id)
      AND {LIVED}
    ORDER BY run_number
    """
)


def times_about(window: Window) -> dict[str, object]:
    """Return the arguments of ``LIVED``, by which all runs did where no time tells it."""
    if not window.is_by_times:
        return {"since": None, "before": None}
    ended = window.ended_at
    return {
        "since": window.started_at - _MARGIN,
        "before": None if ended is None else ended + _MARGIN,
    }


async def find_spans(
    connection: Connection, window: Window, after: int, last: int, limit: int
) -> Spans:
    """Look at the next runs by key, at most so many, for those that lived about a window.

    Of a rule of one execution all its runs are found at once.
    """
    times = times_about(window)
    if window.execution_id is not None:
        rows = await connection.fetch(
            _RUNS_OF_EXECUTION.text,
            *_RUNS_OF_EXECUTION.arguments(**times, execution_id=window.execution_id),
        )
        return Spans([(row[0], row[0]) for row in rows], last)
    rows = await connection.fetch(
        _SPANS.text,
        *_SPANS.arguments(**times, task_name=window.task_name, after=after, last=last, limit=limit),
    )
    spans: list[tuple[int, int]] = []
    for _, first, last_lived in rows:
        if first is None:
            continue
        if spans and first - spans[-1][1] <= _CLOSE:
            spans[-1] = (spans[-1][0], last_lived)
        else:
            spans.append((first, last_lived))
    return Spans(spans, rows[-1]["until"] if rows else last)


# The window of a rule that stood when another history was joined has the last token of the history
# before; one that had ended by then ends with it at most. A rule that stands has no end: what is
# joined while it is verified counts.
_GAPS = Statement(
    """
    SELECT EXISTS (
        SELECT FROM zart.purged_runs
        WHERE (:task_name::text IS NULL OR task_name = :task_name)
          AND lives && tstzrange(:since::timestamptz, :before::timestamptz, '[]'))
    AND NOT EXISTS (
        SELECT FROM zart.executions
        WHERE execution_id = :execution_id::text AND created_at <= :since) AS is_any_purged,
    EXISTS (
        SELECT FROM zart.possible_losses
        WHERE last_token >= :token_from::bigint
          AND last_token < COALESCE(:token_until::bigint, last_token + 1)) AS is_any_lost
    """
)


async def find_gaps(connection: Connection, window: Window) -> tuple[ReceiptGap, ...]:
    """Return why it is not known what was leased in a window, if so.

    Runs may have been purged, and another history been joined, which may lack the last commits of
    the one before. Executions are purged as a whole: one that is there since before the window was
    not.
    """
    since, before = window.started_at, window.ended_at
    if not window.is_by_times:
        first, last = min(since, before or since), max(since, before or since)
        since, before = first - _SET_BACK, before and last + _SET_BACK
    is_any_purged, is_any_lost = await connection.fetchrow(
        _GAPS.text,
        *_GAPS.arguments(
            since=since,
            before=before,
            task_name=window.task_name,
            execution_id=window.execution_id,
            token_from=window.token_from,
            token_until=None if window.ended_at is None else window.token_until,
        ),
    ) or (False, False)
    found = {ReceiptGap.RUNS_PURGED: is_any_purged, ReceiptGap.MAY_LACK_COMMITS: is_any_lost}
    return tuple(gap for gap, is_there in found.items() if is_there)
