"""Finds current runs by what no list has the order of, where they are few: to be read as a whole.

By what the ids of their executions begin with, by the batch that selected them, or by a rule that
withholds steps of theirs.
"""

from __future__ import annotations

from zart_server.domain.errors import BatchNotFound, PauseRuleNotFound
from zart_server.domain.filters import ExecutionFilter
from zart_server.store.connection import Connection
from zart_server.store.pausing.matching import tasks_matched
from zart_server.store.reads.fitting import WORK
from zart_server.store.statement import Statement

FEW = 1_000  # runs that are read as a whole
_BEYOND = "\U0010ffff" * 64  # an id has at most 255 bytes

_OF_PREFIX = Statement("""
    SELECT r.run_key FROM (
        SELECT execution_key FROM zart.executions
        WHERE execution_id >= :prefix::text AND execution_id < :beyond::text
        ORDER BY execution_id LIMIT :most::bigint) e
    CROSS JOIN LATERAL (
        SELECT run_key FROM zart.runs WHERE execution_key = e.execution_key
        ORDER BY run_number DESC LIMIT 1) r
""")
# A row for each item: its execution may have been removed, and then has no run.
_OF_ITEMS = Statement("""
    SELECT r.run_key FROM (
        SELECT execution_key FROM zart.batch_items
        WHERE batch_key = :batch_key::bigint AND execution_key IS NOT NULL
        LIMIT :most::bigint) i
    LEFT JOIN LATERAL (
        SELECT run_key FROM zart.runs WHERE execution_key = i.execution_key
        ORDER BY run_number DESC LIMIT 1) r ON true
""")
_COUNT_PREFIX = Statement("""
    SELECT count(*) FROM (
        SELECT FROM zart.executions
        WHERE execution_id >= :prefix::text AND execution_id < :beyond::text
        ORDER BY execution_id LIMIT :most::bigint) e
""")
_COUNT_ITEMS = Statement("""
    SELECT count(*) FROM (
        SELECT FROM zart.batch_items
        WHERE batch_key = :batch_key::bigint AND execution_key >= 0
        ORDER BY batch_key, execution_key LIMIT :most::bigint) i
""")
# Of all that the rule matches, for other rules may have what it withholds, too.
_OF_RULE = Statement(f"""
    (SELECT t.run_key, false FROM (
        SELECT * FROM zart.pause_rules WHERE rule_key = :rule_key::bigint OFFSET 0) r
    CROSS JOIN LATERAL ({tasks_matched("held", ":most::bigint")}) t LIMIT :most)
    UNION ALL SELECT NULL, true WHERE {WORK.format("settle")}
""")


async def rule_key_of(connection: Connection, rule_id: str) -> int:
    """Return the key of a rule that stands, 0: of one that has ended. Raises PauseRuleNotFound."""
    row = await connection.fetchrow(
        "SELECT rule_key, deleted_at IS NULL FROM zart.pause_rules WHERE rule_id = $1", rule_id
    )
    if row is None:
        raise PauseRuleNotFound(rule_id)
    return row[0] if row[1] else 0


async def batch_key_of(connection: Connection, batch_id: str) -> int:
    """Return the key of a batch. Raises BatchNotFound.

    One that is being removed is not there, either: its items go from the first on, and what is left
    of them is not what it selected.
    """
    found: int | None = await connection.fetchval(
        "SELECT batch_key FROM zart.batches b WHERE batch_id = $1 AND (selected = 0 OR EXISTS ("
        "SELECT FROM zart.batch_items i WHERE i.batch_key = b.batch_key AND i.item_no = 1"
        " OFFSET 0))",
        batch_id,
    )
    if found is None:
        raise BatchNotFound(batch_id)
    return found


async def keys_of_prefix(connection: Connection, wanted: ExecutionFilter) -> list[int] | None:
    """Return the runs of executions whose id begins as is wanted; None: of too many."""
    prefix = wanted.execution_id_prefix
    values = _OF_PREFIX.arguments(prefix=prefix, beyond=prefix + _BEYOND, most=FEW + 1)
    rows = await connection.fetch(_OF_PREFIX.text, *values)
    return None if len(rows) > FEW else [row[0] for row in rows]


async def keys_of_batch(connection: Connection, batch_key: int) -> list[int] | None:
    """Return the current runs of the executions of a batch; None: of too many items."""
    values = _OF_ITEMS.arguments(batch_key=batch_key, most=FEW + 1)
    rows = await connection.fetch(_OF_ITEMS.text, *values)
    return None if len(rows) > FEW else list({row[0] for row in rows if row[0] is not None})


async def count_of_prefix(connection: Connection, wanted: ExecutionFilter, most: int) -> int:
    """Count the executions whose id begins as is wanted, ``most`` at most."""
    prefix = wanted.execution_id_prefix
    values = _COUNT_PREFIX.arguments(prefix=prefix, beyond=prefix + _BEYOND, most=most)
    found: int = await connection.fetchval(_COUNT_PREFIX.text, *values)
    return found


async def count_of_batch(connection: Connection, batch_key: int, most: int) -> int:
    """Count the items of a batch that have an execution, ``most`` at most."""
    values = _COUNT_ITEMS.arguments(batch_key=batch_key, most=most)
    found: int = await connection.fetchval(_COUNT_ITEMS.text, *values)
    return found


async def keys_of_rule(connection: Connection, rule_key: int) -> list[int] | None:
    """Return the runs of paused steps that a rule matches; None: of too many, or others too."""
    values = _OF_RULE.arguments(rule_key=rule_key, most=FEW + 1)
    rows = await connection.fetch(_OF_RULE.text, *values)
    is_known = len(rows) <= FEW and not any(row[1] for row in rows)
    return list({row[0] for row in rows if row[0] is not None}) if is_known else None
