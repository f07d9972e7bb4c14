"""Pause work: the rules whose steps a pause sweep still has to pause or to release."""

from __future__ import annotations

from typing import NamedTuple

from zart_server.store.connection import Connection, Tx
from zart_server.store.pausing.matching import unfinished_run
from zart_server.store.statement import Statement

_MOVES_LOCK = 0x7A61_7274


class PauseWork(NamedTuple):
    """What is to be done for a rule: 'settle', pause what is queued, or 'release' what is paused.

    Of all that the rule matches; of one execution, which it exempts no longer, or now; or of the
    attempts that it had released and took back (``of_released``). ``work_no`` tells it from the
    same work that was done before; None: whichever there is.
    """

    rule_key: int
    work: str
    execution_id: str = ""
    of_released: bool = False
    work_no: int | None = None


def _oldest(work: str) -> str:
    return f"""
        SELECT * FROM (
            SELECT rule_key, work, execution_id, of_released, work_no FROM zart.pause_work
            WHERE work = '{work}' ORDER BY rule_key LIMIT 1000) {work}s
    """


async def pause_work(connection: Connection) -> list[PauseWork]:
    """Return the pause work left: up to 1,000 of each kind, releases first, oldest rules first.

    Apart, so that no number of settling rules keeps a release out of it.
    """
    rows = await connection.fetch(f"{_oldest('release')} UNION ALL {_oldest('settle')}")
    return [PauseWork(*row) for row in rows]


async def end_settling(connection: Connection, work: PauseWork) -> None:
    """Note that this work is done, unless its rule was deleted meanwhile."""
    await connection.execute(
        "DELETE FROM zart.pause_work WHERE rule_key = $1 AND work = 'settle'"
        " AND execution_id = $2 AND of_released = $3 AND ($4::bigint IS NULL OR work_no = $4)",
        work.rule_key,
        work.execution_id,
        work.of_released,
        work.work_no,
    )


_END_RELEASING = Statement(
    f"""
    DELETE FROM zart.pause_work w WHERE rule_key = :rule_key AND work = 'release'
        AND execution_id = :execution_id AND CASE WHEN execution_id = '' THEN (
        SELECT rule_key FROM zart.held h WHERE h.rule_key = w.rule_key
        ORDER BY not_before, queue_no LIMIT 1) IS NULL
    ELSE NOT EXISTS (
        SELECT FROM ({unfinished_run("w.execution_id")}) u CROSS JOIN LATERAL (
            SELECT rule_key FROM zart.held WHERE held.run_key = u.run_key OFFSET 0) h
        WHERE h.rule_key = w.rule_key OFFSET 0) END
    """,
    locks=("pause_work",),
)


async def end_releasing(tx: Tx, work: PauseWork) -> None:
    """Note that this work is done if no paused step is left of it: there will be none again.

    That is a deleted rule's line as a whole, or what an execution has in that of a rule which
    exempts it; for the latter the caller holds the pause lock, shared.
    """
    values = _END_RELEASING.arguments(rule_key=work.rule_key, execution_id=work.execution_id)
    await tx.execute(_END_RELEASING.text, *values)


async def has_rule_to_itself(tx: Tx, rule_key: int) -> bool:
    """Return whether this is the only transaction that moves steps for a rule; lock that if so."""
    is_alone: bool = await tx.fetchval(
        "SELECT pg_try_advisory_xact_lock($1, $2)", _MOVES_LOCK, rule_key % 2**31
    )
    return is_alone
