"""Which runs keep a batch of outcomes waiting: those of which somebody has locked a lease or step.

Reports lock runs and pass over those that others have locked, but what stands below a run they wait
for: nobody locks that without the run, but for somebody with a database client of their own.
"""

from __future__ import annotations

from collections.abc import Iterable

from zart_server.store.arrays import numbers
from zart_server.store.connection import Tx
from zart_server.store.leases import LeaseKey
from zart_server.store.statement import Statement

_ROWS = (("leases", "UPDATE"), ("steps", "NO KEY UPDATE"), ("in_doubt", "NO KEY UPDATE"))


def _looked_at(table: str, lock: str) -> str:
    """Return the parts of a WITH: the named rows of a table that there are, and that are free."""
    found = f"""
        SELECT run_key, step_no FROM zart.{table} x
        WHERE x.run_key = u.run_key AND x.step_no = u.step_no
    """
    return f"""
        seen_{table} AS MATERIALIZED (
            SELECT f.* FROM named u CROSS JOIN LATERAL ({found} OFFSET 0) f
        ), free_{table} AS MATERIALIZED (
            SELECT f.* FROM named u CROSS JOIN LATERAL (
                {found} FOR {lock} SKIP LOCKED) f
        )
    """


_FIND = Statement(
    f"""
    WITH named AS MATERIALIZED (
        SELECT * FROM unnest(:run_keys::text::bigint[], :step_nos::text::integer[])
            u(run_key, step_no)
    ), {", ".join(_looked_at(table, lock) for table, lock in _ROWS)}
    {
        " UNION ".join(
            f'''
            SELECT run_key FROM seen_{table}
            WHERE ((run_key, step_no) IN (SELECT run_key, step_no FROM free_{table})) IS NOT TRUE
            '''
            for table, _ in _ROWS
        )
    }
    """,
    locks=tuple(f"{table}, passing over locked rows" for table, _ in _ROWS),
)


async def find_locked_runs(tx: Tx, leases: Iterable[LeaseKey]) -> set[int]:
    """Return the runs of these leases of which others have locked the lease, the step or a doubt.

    Also those of which they have just ended it. Waits for no row, though for a table as long as the
    transaction may. It locks all that are free without their runs: the transaction is to end.
    """
    steps = sorted({(lease.run_key, lease.step_no) for lease in leases})
    rows = await tx.fetch(
        _FIND.text,
        *_FIND.arguments(
            run_keys=numbers(run_key for run_key, _ in steps),
            step_nos=numbers(step_no for _, step_no in steps),
        ),
    )
    return {row[0] for row in rows}
