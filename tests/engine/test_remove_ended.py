"""What ended long enough ago is removed whole, and nothing else is."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from datetime import timedelta

import asyncpg
import pytest
from batching import until_batch
from retaining import keeping, left, make_old, make_operations_old, sweep
from rig import CHAIN, Rig, eventually, specs
from waiting import GIVE_UP

import zart
from zart import errors
from zart.gateway.bindings import all_services
from zart.testing.server import ServerUnderTest
from zart_server.api.audited import AUDITED
from zart_server.domain.ended_cursor import Position
from zart_server.domain.operations import OperationKind
from zart_server.domain.retention import BY_ITSELF, RPC_OF
from zart_server.engine.operations.remove_ended import remove_piece
from zart_server.store.retention.finding import FINISHED, find_ended
from zart_server.store.retention.removing import ALLOW_PURGE, OF_RUNS
from zart_server.store.retention.tasks import read_kept

RPCS = {
    f"/{service.full_name}/{method.name}": method
    for service in all_services()
    for method in service.methods
}
REMOVED = {f"{table}.run_key" for table in OF_RUNS} | {
    "executions.execution_key", "executions.execution_id",
    "runs.run_key", "runs.execution_key", "runs.payload_run_key",
    "steps.source_run_key",
    "in_doubt.execution_id",
    "dead_steps.run_key", "dead_steps.execution_key",  # by the trigger runs_purge_dead_steps
    "pause_exemptions.execution_id",  # of rules that have ended
}  # fmt: skip
KEPT = {
    "queue.run_key": "no row is of a finished run",
    "held.run_key": "no row is of a finished run",
    "leases.run_key": "no row is of a finished run",
    "pause_rules.execution_id": "the scope of a rule, which names what may not be there",
    "pause_work.execution_id": "what a rule is still to do; done where there is nothing to do",
    "operations.execution_id": "kept for as long as operations are",
    "operation_attempts.execution_id": "kept for as long as operations are",
    "batches.execution_ids": "kept for as long as operations are; an unfinished one keeps them",
    "batch_items.execution_id": "gone with their batch",
    "batch_items.execution_key": "gone with their batch",
    "batch_items.run_key": "gone with their batch",
}


@pytest.fixture
def zart_server(zart_database: str) -> Iterator[ServerUnderTest]:
    """A server by which executions are kept for 60 days, and operations for 400."""
    with keeping(zart_database) as server:
        yield server


async def everything(rig: Rig) -> None:
    """Make an execution x, finished, that has something in every table."""
    steps = specs(CHAIN, if_in_doubt=zart.IfInDoubt.STOP)
    rule_id = (await rig.client.pause(task_name="t")).rule_id
    await rig.client.start("t", {"p": os.urandom(3000).hex()}, execution_id="x", steps=steps)
    await rig.client.resume(rule_id=rule_id, canary=1)
    await rig.fail(await rig.lease_one("a"), retryable=True)
    await rig.client.update_pause_rule(rule_id, exempt=["x"])
    task = await rig.lease_one("a")
    await rig.client.restart("x", accept_in_doubt=True)
    await rig.client.resolve_in_doubt(
        "x", "a", "did_not_happen", run_number=0, attempt=task.attempt
    )
    await rig.client.resume(rule_id=rule_id)
    await rig.complete(await rig.lease_one("a"))
    await rig.work(fail=["b"])
    await rig.client.rerun("x", inputs={"b": 1})
    await rig.work(fail=["b"])


async def test_tables_that_name_a_run_or_an_execution_are_all_thought_of(
    db: asyncpg.Connection[asyncpg.Record],
) -> None:
    """A table that is added later has to be removed with the execution, or be said to stay."""
    rows = await db.fetch(
        "SELECT c.relname || '.' || a.attname FROM pg_attribute a JOIN pg_class c"
        " ON c.oid = a.attrelid WHERE c.relnamespace = 'zart'::regnamespace AND c.relkind = 'r'"
        " AND NOT a.attisdropped AND a.attname ~ '(run_key|execution_key|execution_ids?)$'"
    )
    assert {row[0] for row in rows} == REMOVED | KEPT.keys()


async def test_it_is_removed_whole(rig: Rig, zart_server: ServerUnderTest) -> None:
    await everything(rig)
    columns = sorted(REMOVED)
    empty = [name for name in columns if not await count(rig.db, name)]
    assert empty == []  # or this tests less than it says
    before = await rig.client.list_operations(execution_id="x")
    await make_old(rig.db)
    await rig.client.set_retention("t", timedelta(days=30))
    await sweep(zart_server)

    assert [name for name in columns if await count(rig.db, name)] == []
    with pytest.raises(errors.ExecutionNotFound):
        await rig.client.get_execution("x")
    assert list(await rig.client.list_operations(execution_id="x")) == list(before)
    assert not await rig.db.fetchval(
        "SELECT count(*) FROM zart.requests WHERE rpc = ANY($1::text[])", list(RPC_OF.values())
    )


async def count(db: asyncpg.Connection[asyncpg.Record], name: str) -> int:
    """Return in how many rows a column of a table names something."""
    table, _, column = name.partition(".")
    found: int = await db.fetchval(f"SELECT count({column}) FROM zart.{table}")
    return found


async def test_what_is_to_stay_stays(rig: Rig, zart_server: ServerUnderTest) -> None:
    await rig.client.set_retention("t", timedelta(days=30))
    await rig.client.set_retention("kept", None)
    await rig.start("doubted", {"a": ()}, if_in_doubt=zart.IfInDoubt.STOP)
    doubted = await rig.lease_one("a", "doubted")
    await rig.report(zart.Outcome(doubted.task_id, doubted.lease_token, zart.Lost()))
    for name in ("finished", "in a batch"):
        await rig.start(name, {"a": ()})
    await rig.work()
    await rig.start("unfinished", {"a": ()})
    for task in ("kept", "other"):  # another's are kept for as long as the server is set to
        await rig.start(task, {"a": ()}, task=task)
        await rig.work(task=task)
    batch = await rig.client.create_batch(
        zart.Restart(), execution_ids=["in a batch", "finished", "other"], canary=1
    )
    await until_batch(rig.client, batch.batch_id, "PAUSED")  # "in a batch" was restarted
    await rig.complete(await rig.lease_one("a", "in a batch"))
    await make_old(rig.db, days=35)
    await sweep(zart_server)
    assert await left(rig.db) == [
        "doubted", "finished", "in a batch", "kept", "other", "unfinished",
    ]  # fmt: skip

    await rig.client.cancel_batch(batch.batch_id)
    await rig.client.resolve_in_doubt(
        "doubted", "a", "happened", run_number=0, attempt=doubted.attempt
    )
    await sweep(zart_server)
    assert await left(rig.db) == ["kept", "other", "unfinished"]
    await make_old(rig.db, days=35)  # beyond what the server is set to
    await sweep(zart_server)
    assert await left(rig.db) == ["kept", "unfinished"]
    await rig.client.unset_retention("kept")
    await sweep(zart_server)
    assert await left(rig.db) == ["unfinished"]


async def test_an_id_may_be_used_again_and_a_lease_is_lost(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    first = await rig.client.start("t", execution_id="x", steps=specs({"a": ()}), request_id="r")
    assert first.execution is not None
    task = await rig.lease_one("a")
    await rig.client.cancel_execution("x")
    rule_id = (await rig.client.pause(task_name="u")).rule_id
    await make_old(rig.db, days=100)
    await rig.db.execute("UPDATE zart.pause_rules SET created_at = created_at - interval '99 d'")
    await sweep(zart_server)
    assert await rig.complete(task) == ["LEASE_LOST"]
    second = await rig.client.start("t", execution_id="x", steps=specs({"a": ()}), request_id="r")
    assert second.execution is not None
    assert first.execution.created_at
    assert second.execution.created_at
    assert second.execution.created_at > first.execution.created_at
    assert await rig.statuses() == {"a": "SCHEDULED"}
    receipt = await rig.client.verify_pause_rule(rule_id)
    assert receipt.is_complete  # nothing of its task was removed


async def test_a_request_stays_with_the_execution_that_has_it_now(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    """Once it is forgotten its id may be used again, and is not the first one's any longer."""
    steps = specs({"a": ()})
    await rig.client.start("t", execution_id="first", steps=steps, request_id="r")
    await rig.work()
    await make_old(rig.db, days=100)
    await make_operations_old(rig.db, days=100)
    await rig.db.execute("DELETE FROM zart.requests")  # as the servers do after seven days
    second = await rig.client.start("t", steps=steps, request_id="r")
    await sweep(zart_server)
    assert await left(rig.db) == [second.execution_id]
    again = await rig.client.start("t", steps=steps, request_id="r")
    assert again.execution_id == second.execution_id


async def test_a_receipt_tells_that_something_was_removed(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    paused = await rig.client.pause(task_name="t", step_pattern="nothing")
    await rig.start("x", {"a": ()})
    await rig.work()
    assert (await rig.client.verify_pause_rule(paused.rule_id)).clean
    await rig.client.set_retention("t", timedelta(seconds=1))

    async def gone() -> bool:
        await sweep(zart_server)
        return not await left(rig.db)

    await eventually(gone)
    receipt = await rig.client.verify_pause_rule(paused.rule_id)
    assert (receipt.clean, receipt.is_complete) == (False, False)


async def test_who_revives_it_wins(rig: Rig, zart_server: ServerUnderTest) -> None:
    await rig.dead("x", {"a": ()}, step="a")
    await make_old(rig.db, days=100)
    async with rig.locked("SELECT FROM zart.executions FOR NO KEY UPDATE"):
        await sweep(zart_server)
    async with rig.locked("SELECT FROM zart.runs FOR NO KEY UPDATE"):
        await sweep(zart_server)
    assert await left(rig.db) == ["x"]

    async def go() -> int:
        """Look at it, have it revived, and try to remove what was seen."""
        db = zart_server.running.runtime.db
        async with db.autocommit() as connection:
            now, _ = await read_kept(connection)
            before = now - timedelta(days=30)
            after = dict.fromkeys(FINISHED, Position())
            looked = await find_ended(connection, "t", after, before, 10)
        assert [one.overdue > 0 for one in looked] == [True]
        retried = rig.client.retry_step("x", "a")
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(retried, here))
        async with db.transaction(first=ALLOW_PURGE) as tx:
            return (await remove_piece(tx, "t", looked, before, BY_ITSELF)).executions

    here = asyncio.get_running_loop()
    gone = await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(go(), zart_server.loop))
    assert (gone, await rig.run_status()) == (0, "RUNNING")


async def test_it_waits_for_no_current_run_that_has_others_before_it(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    for name in ("locked", "other"):
        await rig.start(name, {"a": ()})
        await rig.client.restart(name)
        await rig.client.cancel_execution(name)
    await make_old(rig.db, days=100)
    current = (
        "SELECT FROM zart.runs WHERE is_current AND execution_key = (SELECT execution_key"
        " FROM zart.executions WHERE execution_id = 'locked') FOR NO KEY UPDATE"
    )
    async with rig.locked(current), asyncio.timeout(GIVE_UP):
        await sweep(zart_server)
        assert await left(rig.db) == ["locked"]
    await sweep(zart_server)
    assert await left(rig.db) == []


def test_requests_go_with_the_execution_that_they_were_about() -> None:
    """Each mutation on one execution is in the table by which they are found."""
    rpcs = {
        path.rpartition("/")[2]: kind
        for path, kind in AUDITED.items()
        if "execution_id" in RPCS[path].input_type.fields_by_name
        and kind not in {OperationKind.PAUSE, OperationKind.RESUME}  # it is the scope of a rule
    }
    assert rpcs == {rpc: kind for kind, rpc in RPC_OF.items()}
