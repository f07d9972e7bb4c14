"""How batches that are locked change their state, by their callers and by themselves."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from zart_server.domain.batches import BatchPauseCause, BatchStatus
from zart_server.store.batches.rows import COLUMNS, BatchRow
from zart_server.store.connection import Connection, Tx
from zart_server.store.pace import CREDIT
from zart_server.store.statement import Statement

_BATCH_LOCK = 0x7A62_6174


class AtWork(NamedTuple):
    """Batches at work, and the last lease token by now, 0 without any: it grows as others work."""

    keys: list[int]
    token: int


async def batches_at_work(connection: Connection, after: int, limit: int) -> AtWork:
    """Return batches of which something is to be prepared or done: first those after a key.

    Oldest first; after them, if there are fewer than ``limit``, again from the first.
    """
    rows = await connection.fetch(
        "SELECT batch_key, zart.last_token() FROM zart.batches"
        " WHERE status IN ('preparing', 'running')"
        " ORDER BY batch_key <= $1, batch_key LIMIT $2",
        after,
        limit,
    )
    return AtWork([row[0] for row in rows], max((row[1] for row in rows), default=0))


class Taken(NamedTuple):
    """A batch that this transaction works on. ``credit`` None: it goes as fast as it goes."""

    row: BatchRow
    credit: float | None
    now: datetime


async def take_batch(tx: Tx, batch_key: int) -> Taken | None:
    """Lock a batch to work on it; None if another server does, or there is nothing to do.

    Whoever pauses or cancels it waits for the end of this transaction, and this for theirs.
    """
    is_alone: bool = await tx.fetchval(
        "SELECT pg_try_advisory_xact_lock($1, $2)", _BATCH_LOCK, batch_key % 2**31
    )
    if not is_alone:
        return None
    await tx.execute("SELECT FROM zart.batches WHERE batch_key = $1 FOR NO KEY UPDATE", batch_key)
    row = await tx.fetchrow(
        f"SELECT {COLUMNS}, CASE WHEN rate_per_second IS NOT NULL THEN {CREDIT} END AS left"
        " FROM zart.batches WHERE batch_key = $1 AND status IN ('preparing', 'running')",
        batch_key,
    )
    return None if row is None else Taken(BatchRow.from_row(row), row["left"], row["now"])


_ADVANCE = Statement(
    """
    UPDATE zart.batches SET done = done + :done, refused = refused + :refused,
        credit = COALESCE(:credit, credit), credit_at = :taken_at::timestamptz,
        canary_left = canary_left - :done - :refused,
        started_at = COALESCE(started_at, statement_timestamp()),
        going_since = COALESCE(going_since, statement_timestamp()),
        passed_before = COALESCE(passed_before, done + refused + :done + :refused),
        status = :status::text, pause_cause = COALESCE(:cause::text, ''),
        completed_at = CASE WHEN :status = 'completed' THEN statement_timestamp() END
    WHERE batch_key = :batch_key
    """,
    locks=("batches, which the caller has locked",),
)


async def advance(
    tx: Tx,
    taken: Taken,
    done: int,
    refused: int,
    status: BatchStatus,
    cause: BatchPauseCause | None = None,
) -> None:
    """Add to the totals of a batch, take from its credit, and set what it is by that.

    How fast it goes is told from then on: from the first piece since it began, was resumed, or has
    another pace, by whichever server but one before migration 0034.
    """
    credit = None if taken.credit is None else taken.credit - done - refused
    await tx.execute(
        _ADVANCE.text,
        *_ADVANCE.arguments(
            batch_key=taken.row.batch_key,
            done=done,
            refused=refused,
            credit=credit,
            taken_at=taken.now,
            status=status.value,
            cause=None if cause is None else cause.value,
        ),
    )


async def set_paused(tx: Tx, batch_key: int, cause: BatchPauseCause) -> None:
    """Have nothing done until it is resumed."""
    await tx.execute(
        "UPDATE zart.batches SET status = 'paused', pause_cause = $2 WHERE batch_key = $1",
        batch_key,
        cause.value,
    )


async def set_going(tx: Tx, batch_key: int, failures: int) -> None:
    """Have it go on. Its canary has done its work; ``failures`` are those that were seen.

    ``UNCOUNTED``: whoever works on it counts them first.
    """
    await tx.execute(
        """
        UPDATE zart.batches SET pause_cause = '', failures_before = $2,
            going_since = NULL, passed_before = NULL,
            status = CASE WHEN is_prepared THEN 'running' ELSE 'preparing' END,
            canary_left = CASE WHEN pause_cause <> 'canary' THEN canary_left END
        WHERE batch_key = $1
        """,
        batch_key,
        failures,
    )


async def set_failures_before(tx: Tx, batch_key: int, failures: int) -> None:
    """Have so many failures be those from before it was resumed.

    The caller has locked the batch.
    """
    await tx.execute(
        "UPDATE zart.batches SET failures_before = $2 WHERE batch_key = $1", batch_key, failures
    )


async def set_cancelled(tx: Tx, batch_key: int, error: str = "") -> None:
    """End it; its items that are pending are read as cancelled from then on."""
    await tx.execute(
        """
        UPDATE zart.batches SET status = 'cancelled', pause_cause = '', error = $2,
            completed_at = statement_timestamp()
        WHERE batch_key = $1
        """,
        batch_key,
        error,
    )


async def change_pace(tx: Tx, batch_key: int, rate: float | None, max_failures: int | None) -> None:
    """Give it another pace: the credit of the time until now is of the former one."""
    await tx.execute(
        f"""
        UPDATE zart.batches SET max_failures = $3,
            credit = CASE WHEN rate_per_second IS NULL OR $2::float8 IS NULL THEN 1
                ELSE GREATEST(0, LEAST(GREATEST($2, 1), {CREDIT})) END,
            credit_at = CASE WHEN credit_at IS NOT NULL THEN statement_timestamp() END,
            going_since = CASE WHEN rate_per_second IS NOT DISTINCT FROM $2 THEN going_since END,
            passed_before = CASE WHEN rate_per_second IS NOT DISTINCT FROM $2
                THEN passed_before END,
            rate_per_second = $2::float8
        WHERE batch_key = $1
        """,
        batch_key,
        rate,
        max_failures,
    )


async def end_preparing(tx: Tx, batch_key: int) -> None:
    """Have the items of a prepared batch done; if all are refused already, it is over."""
    await tx.execute(
        """
        UPDATE zart.batches SET
            status = CASE WHEN selected = 0 THEN 'cancelled'
                WHEN refused = selected THEN 'completed' ELSE 'running' END,
            started_at = CASE WHEN refused > 0 THEN statement_timestamp() END,
            completed_at = CASE WHEN refused = selected THEN statement_timestamp() END,
            error = CASE WHEN selected = 0 THEN 'nothing matched any more' ELSE '' END
        WHERE batch_key = $1 AND status = 'preparing'
        """,
        batch_key,
    )
