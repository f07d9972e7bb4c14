"""What breakers count: the attempts that ended badly, found each second, and the completed ones."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import asyncpg

from zart_server.domain.model import PauseScope, StepError
from zart_server.store.breaking.rows import IN_WINDOW
from zart_server.store.connection import Connection, Tx
from zart_server.store.leases import error_from_json
from zart_server.store.statement import Statement

MOST = 10_000  # attempts that one look finds, the youngest
# Seconds after its end within which the transaction of an attempt commits, or it does not count.
_LATE = 5
# However long nobody looked: what ended before is past.
_LONGEST = 60
_YOUNG = 0.7  # seconds; servers tell what was completed each half second
_RARELY = 0.4  # seconds between two looks, of whichever servers
# Seconds from the beginning of a generation in which a breaker with a ratio does not open. Not each
# server has told yet what it completed since: it hears of a breaker at once, or, if it missed that,
# half a second later, of the first one a turn of maintenance later. What fails is found all the
# same, and would seem to be all.
_UNHEARD = 1.5


class FailedAttempt(NamedTuple):
    """An attempt that ended FAILED, TIMED_OUT or LOST, and how its error is called.

    ``is_young``: of what was completed beside it, servers may not have told yet.
    """

    run_key: int
    step_no: int
    attempt: int
    lease_token: int
    second: datetime
    is_young: bool
    execution_id: str
    definition_key: int
    error_type: str | None
    error_message: str | None


@dataclass(frozen=True, slots=True)
class Counting:
    """A closed breaker, as it counts: attempts with a greater token, of executions not exempt.

    ``has_ratio``: those with other errors than of its group are counted, too, apart.
    """

    breaker_key: int
    generation: int
    token_from: int
    scope: PauseScope
    error_group_id: str | None
    exempt: frozenset[str]
    has_ratio: bool = False


class Reached(NamedTuple):
    """A breaker that has counted enough in a generation."""

    breaker_id: str
    generation: int


FailedCounts = Mapping[tuple[int, int, datetime], int]  # by breaker key, generation and second
CompletedCounts = Mapping[tuple[int, int], int]  # by breaker key and generation


async def has_breakers(connection: Connection) -> bool:
    """Return whether there is any breaker, in whatever state."""
    return bool(await connection.fetchval("SELECT EXISTS (SELECT FROM zart.breakers)"))


# A last look that is still to come was by the clock of another database, before this was promoted.
_TAKE_LOOK = f"""
    WITH last AS MATERIALIZED (
        SELECT looked_at FROM zart.breaker_looks
        WHERE (looked_at <= statement_timestamp() - {_RARELY} * interval '1 second'
            OR looked_at > statement_timestamp())
          AND EXISTS (SELECT FROM zart.breakers)
        FOR NO KEY UPDATE SKIP LOCKED
    ), now AS (
        UPDATE zart.breaker_looks SET looked_at = statement_timestamp()
        WHERE EXISTS (SELECT FROM last)
    )
    SELECT GREATEST(LEAST(looked_at, statement_timestamp()) - {_LATE} * interval '1 second',
        statement_timestamp() - {_LONGEST} * interval '1 second')
    FROM last
"""


async def take_look(tx: Tx) -> datetime | None:
    """Return since when attempts are to be looked for; None: there is nothing to look for now.

    Others leave the look to this transaction, until it ends.
    """
    since: datetime | None = await tx.fetchval(_TAKE_LOOK)
    return since


# What ended after this begins is found by the next look. If it is minutes later, it ended long ago,
# by the clock of another database, before this was promoted.
_FAILED = f"""
    SELECT a.run_key, a.step_no, a.attempt, a.lease_token, date_trunc('second', a.completed_at),
        a.completed_at > statement_timestamp() - {_YOUNG} * interval '1 second',
        e.execution_id, r.definition_key,
        CASE WHEN g.is_asked_for THEN a.error->>'type' END,
        CASE WHEN g.is_asked_for THEN a.error->>'message' END
    FROM (SELECT EXISTS (
        SELECT FROM zart.breakers WHERE status = 'closed' AND error_group_id IS NOT NULL)
        AS is_asked_for) g
    CROSS JOIN LATERAL (
        SELECT * FROM zart.attempts
        WHERE completed_at > $1 AND completed_at <= statement_timestamp()
          AND status IN ('failed', 'timed_out', 'lost')
          AND lease_token IS NOT NULL
        ORDER BY completed_at DESC LIMIT {MOST}) a
    CROSS JOIN LATERAL (SELECT execution_key, definition_key FROM zart.runs
        WHERE run_key = a.run_key OFFSET 0) r
    CROSS JOIN LATERAL (SELECT execution_id FROM zart.executions
        WHERE execution_key = r.execution_key OFFSET 0) e
"""


async def find_failed(connection: Connection, since: datetime) -> list[FailedAttempt]:
    """Return the attempts that ended badly, the last one first, at most ``MOST``.

    Not those that an operator made, which have no token. Their errors are read only if there is a
    breaker that asks for them.
    """
    return [FailedAttempt(*row) for row in await connection.fetch(_FAILED, since)]


_COUNTING_COLUMNS = """breaker_key, generation, token_from, task_name, step_pattern,
    error_group_id, min_failure_ratio > 0 AS has_ratio,
    ARRAY(SELECT execution_id FROM zart.pause_exemptions x
          WHERE x.rule_key = b.rule_key AND x.token_until IS NULL) AS exempt"""
_COUNTING = f"""
    SELECT {_COUNTING_COLUMNS} FROM zart.breakers b WHERE status = 'closed' AND task_name IS NULL
    UNION ALL
    SELECT c.* FROM unnest($1::text[]) u(name) CROSS JOIN LATERAL (
        SELECT {_COUNTING_COLUMNS} FROM zart.breakers b
        WHERE status = 'closed' AND task_name = u.name OFFSET 0) c
"""
_COUNTING_RATIOS = f"""
    SELECT {_COUNTING_COLUMNS} FROM zart.breakers b
    WHERE status = 'closed' AND min_failure_ratio > 0
"""


async def find_counting(connection: Connection, task_names: Collection[str]) -> list[Counting]:
    """Return the closed breakers that may count a step of these tasks."""
    return _counting(await connection.fetch(_COUNTING, list(task_names)))


async def find_counting_ratios(connection: Connection) -> list[Counting]:
    """Return the closed breakers for which completed attempts are counted."""
    return _counting(await connection.fetch(_COUNTING_RATIOS))


def _counting(rows: Sequence[asyncpg.Record]) -> list[Counting]:
    return [
        Counting(
            row["breaker_key"],
            row["generation"],
            row["token_from"],
            PauseScope(None, row["task_name"], row["step_pattern"]),
            row["error_group_id"],
            frozenset(row["exempt"]),
            row["has_ratio"],
        )
        for row in rows
    ]


# What was counted of a second before is not counted twice: all of it is found again, or less.
_COUNT_FAILED = Statement(
    """
    INSERT INTO zart.breaker_counts AS c (breaker_key, generation, second, failed,
        failed_otherwise)
    SELECT * FROM unnest(:keys::bigint[], :generations::integer[], :seconds::timestamptz[],
        :numbers::integer[], :others::integer[])
    ON CONFLICT (breaker_key, generation, second)
    DO UPDATE SET failed = GREATEST(c.failed, excluded.failed),
        failed_otherwise = GREATEST(c.failed_otherwise, excluded.failed_otherwise)
    WHERE c.failed < excluded.failed OR c.failed_otherwise < excluded.failed_otherwise
    """
)
_COUNT_COMPLETED = Statement(
    """
    INSERT INTO zart.breaker_counts AS c (breaker_key, generation, second, completed)
    SELECT key, generation, date_trunc('second', statement_timestamp()), number
    FROM unnest(:keys::bigint[], :generations::integer[], :numbers::integer[])
        u(key, generation, number)
    ON CONFLICT (breaker_key, generation, second)
    DO UPDATE SET completed = c.completed + excluded.completed
    """
)


async def count_failed(connection: Connection, counts: FailedCounts, others: FailedCounts) -> None:
    """Note how many attempts ended badly in each second; what is known already stays.

    ``others`` are those with other errors than of a breaker's group.
    """
    # In the order of the keys, in which whoever else counts locks them, too.
    ordered = sorted(counts.keys() | others.keys())
    keys, generations, seconds = zip(*ordered, strict=True)
    values = _COUNT_FAILED.arguments(
        keys=keys,
        generations=generations,
        seconds=seconds,
        numbers=[counts.get(key, 0) for key in ordered],
        others=[others.get(key, 0) for key in ordered],
    )
    await connection.execute(_COUNT_FAILED.text, *values)


async def count_completed(connection: Connection, counts: CompletedCounts) -> None:
    """Add to the attempts that were completed in this second."""
    keys, generations = zip(*sorted(counts), strict=True)
    values = _COUNT_COMPLETED.arguments(
        keys=keys, generations=generations, numbers=[counts[key] for key in sorted(counts)]
    )
    await connection.execute(_COUNT_COMPLETED.text, *values)


_REACHED = f"""
    SELECT b.breaker_key, b.breaker_id, b.generation
    FROM unnest($1::bigint[], $2::integer[]) u(breaker_key, young)
    CROSS JOIN LATERAL (
        SELECT * FROM zart.breakers WHERE breaker_key = u.breaker_key AND status = 'closed'
        OFFSET 0) b
    CROSS JOIN LATERAL (
        SELECT sum(failed) - CASE WHEN b.min_failure_ratio > 0 THEN u.young ELSE 0 END AS failed,
            COALESCE(sum(completed + failed_otherwise), 0) AS others
        FROM zart.breaker_counts c
        WHERE c.breaker_key = b.breaker_key AND c.generation = b.generation AND {IN_WINDOW}) n
    WHERE n.failed >= b.failure_threshold
      -- closed_at is when its generation began
      AND CASE WHEN b.min_failure_ratio > 0
          THEN b.closed_at <= statement_timestamp() - {_UNHEARD} * interval '1 second'
          ELSE true END
      -- a product is not exact: 0.28 of 25 is more than 7
      AND n.failed >= b.min_failure_ratio * (n.failed + n.others) - 1e-6
"""


async def find_reached(connection: Connection, young: Mapping[int, int]) -> dict[int, Reached]:
    """Return those of the breakers, by key, that have counted enough to open.

    ``young`` has for each how many of the attempts that it counted are: with a ratio they do not
    count yet, or what is completed beside them would seem to fail.
    """
    rows = await connection.fetch(_REACHED, list(young), list(young.values()))
    return {row[0]: Reached(row[1], row[2]) for row in rows}


async def find_updated(connection: Connection, since: datetime) -> list[int]:
    """Return the closed breakers, by key, whose settings were changed since then.

    They may have counted enough for these already, and nothing more may fail.
    """
    rows = await connection.fetch(
        "SELECT breaker_key FROM zart.breakers WHERE updated_at > $1 AND status = 'closed'", since
    )
    return [row[0] for row in rows]


async def read_error(connection: Connection, attempt: FailedAttempt) -> StepError | None:
    """Return the error of an attempt that ended."""
    error: str | None = await connection.fetchval(
        "SELECT error FROM zart.attempts WHERE run_key = $1 AND step_no = $2 AND attempt = $3",
        attempt.run_key,
        attempt.step_no,
        attempt.attempt,
    )
    return error_from_json(error)


async def purge_counts(connection: Connection) -> None:
    """Delete the counts that no breaker looks back to."""
    await connection.execute(
        f"""
        DELETE FROM zart.breaker_counts c WHERE NOT EXISTS (
            SELECT FROM zart.breakers b WHERE b.breaker_key = c.breaker_key
              AND b.generation = c.generation AND b.status = 'closed' AND {IN_WINDOW} OFFSET 0)
        """
    )
