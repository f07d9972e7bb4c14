"""Reads what operators have set up and not ended: rules, releases, breakers, batches, doubts."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from zart_server.store.connection import Connection
from zart_server.store.reads.listed_runs import MOST_KEY
from zart_server.store.statement import Statement

_MOST = 10_000  # of each; more are not counted
_MOST_TASKS = 500  # that are looked for besides: in 3 ms


class Lane(NamedTuple):
    """What a lane is the queue of."""

    lane: int
    task_name: str
    handler: str


async def read_lanes(connection: Connection, after: int) -> list[Lane]:
    """Return the lanes with numbers beyond ``after``, in their order: none ever changes.

    A lane of a lower number may come later: its transaction took the number and is slower.
    """
    rows = await connection.fetch(
        "SELECT lane, task_name, handler FROM zart.lanes WHERE lane > $1 ORDER BY lane LIMIT $2",
        after,
        _MOST,
    )
    return [Lane(*row) for row in rows]


async def read_named_lanes(connection: Connection, numbers: Collection[int]) -> list[Lane]:
    """Return the lanes that have these numbers."""
    rows = await connection.fetch(
        "SELECT lane, task_name, handler FROM zart.lanes WHERE lane = ANY($1::int[])", list(numbers)
    )
    return [Lane(*row) for row in rows]


class StandingRule(NamedTuple):
    """A pause rule; if it is releasing, its steps a second, and how many it has let go."""

    rule_key: int
    rule_id: str
    is_settling: bool
    rate: float | None
    released: int | None


_RULES = Statement("""
    SELECT p.rule_key, p.rule_id, EXISTS (
            SELECT FROM zart.pause_work w WHERE w.rule_key = p.rule_key AND w.work = 'settle'),
        r.rate_per_second, r.released_steps
    FROM zart.pause_rules p LEFT JOIN zart.pause_releases r
        ON r.rule_key = p.rule_key AND r.ended_at IS NULL
    WHERE (p.deleted_at IS NULL) = true
    ORDER BY p.rule_key LIMIT :most
""")


async def read_standing_rules(connection: Connection) -> list[StandingRule]:
    """Return the rules that stand, oldest first."""
    rows = await connection.fetch(_RULES.text, *_RULES.arguments(most=_MOST))
    return [StandingRule(*row) for row in rows]


_OLDEST_ENDED = Statement("""
    SELECT EXTRACT(epoch FROM statement_timestamp() - min(p.deleted_at))::float8
    FROM (SELECT rule_key FROM zart.pause_work WHERE work = 'release' AND execution_id = ''
        ORDER BY rule_key LIMIT :most) w
    CROSS JOIN LATERAL (
        SELECT deleted_at FROM zart.pause_rules WHERE rule_key = w.rule_key OFFSET 0) p
""")


async def read_oldest_ended(connection: Connection) -> float:
    """Return the seconds since the first rule ended of which steps are still to be moved back.

    0: there is none. No step is looked at, however many there are.
    """
    values = _OLDEST_ENDED.arguments(most=_MOST)
    ago: float | None = await connection.fetchval(_OLDEST_ENDED.text, *values)
    return max(ago or 0.0, 0.0)


class BreakersInState(NamedTuple):
    """How many breakers of a task (None: of all tasks) are in a state."""

    task_name: str | None
    status: str
    breakers: int


async def count_breakers(connection: Connection) -> list[BreakersInState]:
    """Return how many breakers there are, by task and state."""
    rows = await connection.fetch(
        "SELECT task_name, status, count(*) FROM zart.breakers GROUP BY task_name, status"
    )
    return [BreakersInState(*row) for row in rows]


class StandingBatch(NamedTuple):
    """A batch that is not over: its items, and how many of them a second may be done."""

    batch_id: str
    selected: int
    done: int
    refused: int
    rate: float | None


_BATCHES = Statement("""
    SELECT batch_id, selected, done, refused, rate_per_second FROM zart.batches
    WHERE status = ANY('{preparing,running,paused}'::text[])
    ORDER BY batch_key DESC LIMIT :most
""")


async def read_standing_batches(connection: Connection) -> list[StandingBatch]:
    """Return the batches that are not over, newest first."""
    rows = await connection.fetch(_BATCHES.text, *_BATCHES.arguments(most=_MOST))
    return [StandingBatch(*row) for row in rows]


# From one task to the next, however many each has.
_TASKS_IN_DOUBT = Statement("""
    WITH RECURSIVE found(task_name) AS (
        SELECT ''::text COLLATE "C"
        UNION ALL
        SELECT t.task_name FROM found f CROSS JOIN LATERAL (
            SELECT task_name FROM zart.in_doubt WHERE resolved_at IS NULL
              AND (task_name, in_doubt_key) > (f.task_name, :last::bigint)
            ORDER BY task_name, in_doubt_key LIMIT 1) t
    )
    SELECT task_name FROM found WHERE task_name <> '' LIMIT :most::bigint
""")


async def count_in_doubt(connection: Connection) -> dict[str, int]:
    """Return how many attempts are in doubt, by task.

    Ten thousand are counted; a task of which none is among these has one, as long as it is one of
    the first five hundred by their names.
    """
    rows = await connection.fetch(
        """
        SELECT task_name, count(*) FROM (
            SELECT task_name FROM zart.in_doubt WHERE resolved_at IS NULL LIMIT $1) d
        GROUP BY task_name
        """,
        _MOST,
    )
    found: dict[str, int] = {row[0]: row[1] for row in rows}
    if sum(found.values()) >= _MOST:
        values = _TASKS_IN_DOUBT.arguments(last=MOST_KEY, most=_MOST_TASKS)
        for (task,) in await connection.fetch(_TASKS_IN_DOUBT.text, *values):
            found.setdefault(task, 1)
    return found
