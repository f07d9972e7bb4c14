"""Retention: what ended is found by the index of lists, and removed by keys."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hot.explained import Explained
from hot.scenario import BATCH, scenario
from hot.states import MANY, RELEASED
from zart_server.domain.breakers import BreakerSettings
from zart_server.domain.commands import Caller
from zart_server.domain.ended_cursor import FROM_THE_OLDEST, EndedCursor, Position
from zart_server.domain.model import RunStatus
from zart_server.domain.retention import BY_ITSELF, Removed
from zart_server.engine.operations.ended_walk import EndedWalk
from zart_server.engine.operations.remove_ended import remove_piece
from zart_server.store.breaking.rows import insert_breaker
from zart_server.store.reads.stats import read_stats
from zart_server.store.retention.finding import (
    FINISHED,
    execution_id_of,
    find_ended,
    next_task,
)
from zart_server.store.retention.operations import TABLES, remove_batches, remove_operations
from zart_server.store.retention.passes import hold_pass, prolong_pass, set_pass, take_pass
from zart_server.store.retention.records import forget_records, record_removed
from zart_server.store.retention.removing import (
    ALLOW_PURGE,
    allow_purge,
    count_ended,
    undone_if_late,
)
from zart_server.store.retention.tasks import (
    list_task_retention,
    read_kept,
    read_kept_of,
    set_task_retention,
    unset_task_retention,
)

_LATER = datetime.now(UTC) + timedelta(days=1)


@scenario(1)
async def going_through_tasks(tx: Explained) -> None:
    assert await next_task(tx.tx, "") == "many"
    assert await next_task(tx.tx, "many") is None
    assert await execution_id_of(tx.tx, MANY // 2)
    assert await take_pass(tx.tx, timedelta(minutes=1)) == FROM_THE_OLDEST
    await set_pass(tx.tx, timedelta(minutes=1), EndedCursor("many"))
    await prolong_pass(tx.tx, timedelta(minutes=1))


@scenario(1)
async def setting_retention(tx: Explained) -> None:
    await hold_pass(tx.tx)
    assert (await set_task_retention(tx.tx, "many", timedelta(1), Caller())).keep
    assert len((await read_kept(tx.tx))[1]) == 1
    assert await read_kept_of(tx.tx, "many", None) == timedelta(1)
    assert len((await list_task_retention(tx.tx, None, 10)).items) == 1
    assert await unset_task_retention(tx.tx, "many")


async def _trying(tx: Explained) -> None:
    """Have a breaker be half open whose rule let go steps of all that ends, before it was."""
    await insert_breaker(
        tx.tx,
        "br-half-open",
        BreakerSettings("many", None, 2, timedelta(minutes=1), 0.5, None, timedelta(0), 1, None),
        Caller(),
    )
    await tx.sql.execute(
        "UPDATE zart.breakers SET status = 'half_open', rule_key = $1, half_open_at = 'infinity'",
        RELEASED,
    )


@scenario(BATCH, first=ALLOW_PURGE)
async def removing_what_has_ended(tx: Explained) -> None:
    await _trying(tx)
    after = dict.fromkeys(FINISHED, Position())
    looked = (await find_ended(tx.tx, "many", after, _LATER, BATCH // 2))[:BATCH]
    assert len(looked) == BATCH
    async with undone_if_late(tx.tx, 120):
        removed = await remove_piece(tx.tx, "many", looked, _LATER, BY_ITSELF)
    assert 0 < removed.executions == removed.runs < BATCH  # of the others an attempt is in doubt


@scenario(BATCH, first=ALLOW_PURGE)
async def going_on_behind_thousands_that_stay(tx: Explained) -> None:
    statuses = (RunStatus.COMPLETED, RunStatus.FAILED)
    rows = await tx.sql.fetch(
        "SELECT listed_at, execution_key FROM zart.runs WHERE execution_key = ANY($1) AND status"
        " = ANY($2) ORDER BY status",
        [MANY // 2, MANY // 2 + 1],
        list(statuses),
    )
    after = {status: Position(*row) for status, row in zip(statuses, rows, strict=True)}
    walk = EndedWalk(EndedCursor("many", after), None)
    for _ in range(2):
        assert await walk.task(tx.tx) == "many"
        looked = await walk.look(tx.tx, _LATER, BATCH // 2)
        assert min(one.position.execution_key for one in looked) > MANY // 2
        assert len(looked) == BATCH
        await remove_piece(tx.tx, "many", looked, _LATER, BY_ITSELF)


@scenario(BATCH, first=ALLOW_PURGE)
async def removing_operations(tx: Explained) -> None:
    for table in TABLES:
        piece = await remove_operations(tx.tx, table, 0, _LATER, BATCH)
        assert (piece.removed, piece.is_more) == (BATCH, True)
    await record_removed(tx.tx, "", BY_ITSELF, Removed(operations=BATCH), _LATER)
    await forget_records(tx.tx)
    assert await remove_batches(tx.tx, _LATER, BATCH)  # one that ended has more items


@scenario(2 * BATCH)
async def counting_what_has_ended(tx: Explained) -> None:
    await _trying(tx)
    await allow_purge(tx.tx)
    may_go, may_not, is_more = await count_ended(tx.tx, "many", _LATER, BATCH // 2)
    assert (may_go + may_not, is_more) == (BATCH, True)
    assert may_go > 0 < may_not


@scenario(10 * BATCH)  # the catalog has as many tables and indexes
async def telling_how_much_there_is(tx: Explained) -> None:
    found = await read_stats(tx.tx, BATCH)
    assert found.oldest_operation_at is not None
    assert any(one.is_lower_bound for one in found.statuses)
