"""What somebody has named for a batch of steps, and of which no step is selected.

It has no dead step, or one that died only since: it is told so, and not left out without a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from zart_server.domain.errors import RunChanged, StepChanged, StepNotDead, ZartError
from zart_server.domain.model import run_id_of
from zart_server.store.connection import Connection, Tx
from zart_server.store.statement import Statement


class LeftOut(NamedTuple):
    """A run that was named. ``has_dead``: one of its steps is dead, only since then."""

    execution_id: str
    run_key: int
    run_number: int
    current_run_number: int
    status: str
    has_dead: bool

    @property
    def error(self) -> ZartError:
        """Why nothing is done to it."""
        if self.run_number != self.current_run_number:
            return RunChanged(self.execution_id, self.run_number, self.current_run_number)
        run_id = run_id_of(self.execution_id, self.run_number)
        return StepChanged(run_id) if self.has_dead else StepNotDead(run_id, "", self.status)


def _left_out(is_selected: str) -> Statement:
    return Statement(
        f"""
        SELECT e.execution_id, r.run_key, r.run_number, c.run_number, r.status, r.dead_steps > 0
        FROM unnest(:run_keys::bigint[]) WITH ORDINALITY u(run_key, n)
        CROSS JOIN LATERAL (
            SELECT execution_key, run_key, run_number, status, dead_steps
            FROM zart.runs WHERE runs.run_key = u.run_key OFFSET 0) r
        CROSS JOIN LATERAL (
            SELECT execution_id FROM zart.executions
            WHERE executions.execution_key = r.execution_key OFFSET 0) e
        CROSS JOIN LATERAL (
            SELECT run_number FROM zart.runs
            WHERE runs.execution_key = r.execution_key ORDER BY run_number DESC LIMIT 1) c
        WHERE NOT EXISTS ({is_selected})
        ORDER BY u.n
        """
    )


_WITHOUT_ITEM = _left_out("""
            SELECT FROM zart.batch_items WHERE batch_key = :batch_key::bigint
                AND batch_items.execution_key = r.execution_key OFFSET 0""")
_WITHOUT_DEAD = _left_out("""
            SELECT FROM zart.steps WHERE steps.run_key = r.run_key AND steps.status = 'dead'
                AND steps.completed_at <= :as_of::timestamptz OFFSET 0""")


async def find_without_item(tx: Tx, batch_key: int, run_keys: Sequence[int]) -> list[LeftOut]:
    """Return those of the runs of which the batch has no item, now that these are written."""
    values = _WITHOUT_ITEM.arguments(run_keys=run_keys, batch_key=batch_key)
    return [LeftOut(*row) for row in await tx.fetch(_WITHOUT_ITEM.text, *values)]


async def find_without_dead(
    connection: Connection, run_keys: Sequence[int], as_of: datetime
) -> list[LeftOut]:
    """Return those of the runs of which no step has been dead since then."""
    values = _WITHOUT_DEAD.arguments(run_keys=run_keys, as_of=as_of)
    return [LeftOut(*row) for row in await connection.fetch(_WITHOUT_DEAD.text, *values)]
