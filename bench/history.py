"""Loads states of millions of rows: copies, made in SQL, of executions that the API really made.

Column by column as the tables have them, whatever columns those are: only keys, ids, places in
the queue and times are given anew. `checked` reads some of the copies through the API.
"""

from __future__ import annotations

import random
import re
from typing import TypeAlias

import asyncpg

import zart
from bench.product import Product

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_TABLES = """
SELECT c.table_name, array_agg(c.column_name::text ORDER BY c.ordinal_position) AS columns,
       bool_or(c.column_name = 'run_key') AS of_run,
       bool_or(c.column_name = 'execution_key') AS of_execution
FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
WHERE c.table_schema = 'zart' AND t.table_type = 'BASE TABLE'
  AND c.is_generated = 'NEVER'
GROUP BY c.table_name
HAVING bool_or(c.column_name IN ('run_key', 'execution_key')) OR c.table_name = 'operations'
"""

# What a copy has for itself. {n} counts the copies from 1.
_OWN = {
    "execution_id": "o.execution_id || '-' || n",
    "execution_key": "$1::bigint + n",
    "run_key": "$2::bigint + n",
    "operation_key": "nextval(pg_get_serial_sequence('zart.operations', 'operation_key'))",
    "queue_no": "nextval('zart.queue_numbers')",
    "not_before": "o.not_before + n * interval '1 microsecond'",
    "died_at": "o.died_at - n * interval '10 seconds'",
}


async def multiplied(
    made: Product, execution_id: str, count: int, *, is_vacuumed: bool = True
) -> None:
    """Copy an execution of one run so many times, as ``<execution_id>-<number>``, and vacuum."""
    async with made.db() as db:
        (found,) = await db.fetch(
            "SELECT e.execution_key, max(r.run_key), count(*) FROM zart.executions e"
            " JOIN zart.runs r USING (execution_key) WHERE e.execution_id = $1"
            " GROUP BY e.execution_key",
            execution_id,
        )
        execution, run, runs = found
        if runs != 1:
            raise RuntimeError(f"{execution_id} has {runs} runs: only one can be copied")
        await _let_it_write(db)
        last = [
            await db.fetchval("SELECT max(execution_key) FROM zart.executions"),
            await db.fetchval("SELECT max(run_key) FROM zart.runs"),
        ]
        tables = await db.fetch(_TABLES)
        for table in tables:
            # The table's own place among ours says which rows are the template's.
            if table["of_run"]:
                where, of = "o.run_key = $4", run
            elif table["of_execution"]:
                where, of = "o.execution_key = $4", execution
            else:
                where, of = "o.execution_id = $4", execution_id
            await _copied(db, table["table_name"], table["columns"], where, [*last, count, of])
        await db.execute(
            "SELECT setval(pg_get_serial_sequence('zart.executions', 'execution_key'),"
            " (SELECT max(execution_key) FROM zart.executions)),"
            " setval(pg_get_serial_sequence('zart.runs', 'run_key'),"
            " (SELECT max(run_key) FROM zart.runs))"
        )
        for table in tables if is_vacuumed else ():
            await db.execute(f"VACUUM ANALYZE zart.{table['table_name']}")
        await _as_it_was(db)


async def _copied(
    db: Connection, table: str, columns: list[str], where: str, values: list[object]
) -> None:
    copied = ", ".join(_OWN.get(column, f'o."{column}"') for column in columns)
    names = ", ".join(f'"{column}"' for column in columns)
    query = (
        f"INSERT INTO zart.{table} ({names}) OVERRIDING SYSTEM VALUE"
        f" SELECT {copied} FROM zart.{table} o CROSS JOIN generate_series(1, $3::bigint) n"
        f" WHERE {where} ORDER BY n"
    )
    # Numbered anew: a parameter that a statement does not use has no type.
    used = sorted({int(number) for number in re.findall(r"\$(\d)", query)})
    for index, number in enumerate(used, 1):
        query = query.replace(f"${number}", f"${index}")
    await db.execute(query, *(values[number - 1] for number in used), timeout=600)


async def _let_it_write(db: Connection) -> None:
    """Spare a load what only matters for what is measured."""
    await db.execute("SET synchronous_commit = off")
    await db.execute("SET maintenance_work_mem = '512MB'")
    await db.execute("ALTER SYSTEM SET max_wal_size = '16GB'")
    await db.execute("SELECT pg_reload_conf()")


async def _as_it_was(db: Connection) -> None:
    await db.execute("ALTER SYSTEM RESET max_wal_size")
    await db.execute("SELECT pg_reload_conf()")
    await db.execute("CHECKPOINT")


async def checked(
    client: zart.Client, execution_id: str, count: int, step: str, status: zart.StepStatus
) -> None:
    """Read some of the copies, and compare them with what they were copied from."""
    template = await client.get_execution(execution_id)
    numbers = {1, count, *(random.randint(1, count) for _ in range(3))}  # noqa: S311 - any few will do
    for n in numbers:
        copy = await client.get_execution(f"{execution_id}-{n}")
        if [(s.step_name, s.status) for s in copy.steps] != [
            (s.step_name, s.status) for s in template.steps
        ] or copy.run.status != template.run.status:
            raise RuntimeError(f"{execution_id}-{n} is not what it was copied from")
        found = next(s for s in copy.steps if s.step_name == step)
        if found.status != status:
            raise RuntimeError(f"{execution_id}-{n}/{step} is {found.status}, not {status}")
