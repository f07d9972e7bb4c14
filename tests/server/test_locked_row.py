"""What a lock keeps waiting is who wants what is locked, and nobody else; on real processes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from acceptance.serve_process import serve_processes
from batching import until_batch
from releasing import settled
from rig import CHAIN, Rig, specs

import zart
from zart.calls.execution import Start

CALLERS = 300
STANDSTILL = 8.0  # seconds, on a machine however busy; they took 10, and ended UNAVAILABLE
Call = Callable[[], Coroutine[Any, Any, Any]]


@pytest.fixture
async def process(
    zart_database: str, db: asyncpg.Connection[asyncpg.Record], tmp_path: Path
) -> AsyncIterator[Rig]:
    """A server that is a process, with the pool that it has by default."""
    settings = {"ZART_OPERATION_TIMEOUT": "120"}  # who waits is not to give up before the test ends
    with serve_processes(1, zart_database, tmp_path, **settings) as (server,):
        async with zart.connect(server.address, timeout=120) as client:
            await client.register_task("other", specs({"a": ()}))
            yield Rig(client, db)


@asynccontextmanager
async def held(
    rig: Rig, wants: Sequence[Call], lock: str, *, waiting: int
) -> AsyncIterator[list[asyncio.Task[Any]]]:
    """Hold what ``lock`` locks, with as many callers who want it; all of them end afterwards."""
    async with rig.locked(lock):
        callers: list[asyncio.Task[Any]]
        callers = [asyncio.create_task(wants[n % len(wants)]()) for n in range(CALLERS)]
        await rig.until_waiting(waiting)
        yield callers
        assert not any(isinstance(e, zart.errors.ZartError) for e in ended_by(callers))
        assert not all(caller.done() for caller in callers)
    await asyncio.gather(*callers, return_exceptions=True)


def ended_by(callers: Iterable[asyncio.Task[Any]]) -> list[BaseException | None]:
    """Return what those who are done were refused with."""
    return [caller.exception() for caller in callers if caller.done()]


async def watched(messages: AsyncIterator[Any]) -> None:
    """Be told all of a watch, which ends with an error where the lock is held for ten seconds."""
    with suppress(zart.errors.ZartError):
        async for _ in messages:
            pass


async def none_stands_still(others: Iterable[Call]) -> None:
    """Do things one after the other, none of which is to take long."""
    for number, other in enumerate(others):
        begun = time.monotonic()
        await other()
        assert time.monotonic() - begun < STANDSTILL, number


def dispatch(rig: Rig, name: str = "z") -> list[Call]:
    """Start, lease and complete something that nobody has locked; twice."""

    async def complete() -> None:
        [task] = await rig.client.lease_tasks("d", ["other"], wait=10)
        assert await rig.complete(task) == ["RECORDED"]

    return [
        lambda: rig.client.start("other", execution_id=f"{name}1"),
        complete,
        lambda: rig.client.start("other", execution_id=f"{name}2"),
        complete,
    ]


async def ended_batches(rig: Rig, count: int) -> list[str]:
    """Make batches that have ended, of an execution that has, too; gives their ids."""
    await none_stands_still(dispatch(rig, "before"))
    found = []
    for _ in range(count):
        made = await rig.client.create_batch(zart.CancelExecution(), execution_ids=["before1"])
        await until_batch(rig.client, made.batch_id, "COMPLETED")
        found.append(made.batch_id)
    return found


async def drained_rule(rig: Rig) -> str:
    """Pause what there is nothing of; gives the rule's id, once it has settled and is drained."""
    rule_id = (await rig.client.pause(task_name="nobody")).rule_id
    await settled(rig)
    await rig.client.wait_drained(rule_id)
    return rule_id


async def test_a_locked_execution_takes_a_share_of_the_pool_only(process: Rig) -> None:
    client = process.client

    async def list_executions() -> None:
        await client.list_executions()

    await process.start("x", {f"s{n}": () for n in range(40)})
    tasks = await process.lease()
    await process.start("y", CHAIN)
    wants: list[Call] = [
        lambda: client.restart("x"),
        lambda: client.retry_step("x", "s0"),
        lambda: client.rerun("x", force_rerun=["s0"]),
        lambda: client.rerun("x", force_rerun=["s0"], validate_only=True),
        lambda: client.cancel_execution("x"),
    ]
    lock = (
        "SELECT FROM zart.executions JOIN zart.runs USING (execution_key)"
        " WHERE execution_id = 'x' FOR UPDATE"
    )
    async with held(process, wants, lock, waiting=1):
        reports = [asyncio.create_task(process.complete(task)) for task in tasks]
        await process.until_waiting(2)
        await none_stands_still(
            [
                lambda: client.get_execution("y"),
                lambda: client.get_execution("x"),
                lambda: client.get_step("y", "a"),
                list_executions,
                *dispatch(process),
                lambda: client.restart("y"),
                lambda: client.pause(task_name="nobody"),
                lambda: client.register_task("u", specs(CHAIN)),
                lambda: client.cancel_execution("y"),
            ]
        )
    await asyncio.gather(*reports, return_exceptions=True)
    # Nobody is left behind: the lines are empty, and the next is served at once.
    assert (await client.restart("x")).new_run_number > 0


async def test_a_locked_task_takes_a_share_of_the_pool_only(process: Rig) -> None:
    client = process.client

    async def list_definitions() -> None:
        await client.list_task_definitions()

    await client.register_task("t", specs(CHAIN))
    lock = "SELECT FROM zart.task_names WHERE task_name = 't' FOR UPDATE"
    wants: list[Call] = [lambda: client.register_task("t", specs(CHAIN))]
    async with held(process, wants, lock, waiting=1):
        await none_stands_still(
            [
                list_definitions,
                lambda: client.register_task("u", specs(CHAIN)),
                *dispatch(process),
            ]
        )
    assert (await client.register_task("t", specs(CHAIN))).version == 1


async def test_reads_that_wait_leave_connections_to_those_who_start_and_report(
    process: Rig,
) -> None:
    """As many as there is a pool for, were they let: a full pool answers nobody."""
    client = process.client
    rule_id = await drained_rule(process)

    async def read() -> None:
        await client.list_pause_rules()

    wants: list[Call] = [
        read,
        lambda: watched(client.watch_pause_rule(rule_id, until="drained")),
    ]
    await none_stands_still(dispatch(process, "before"))  # what it needs to know is at hand
    async with held(process, wants, "LOCK TABLE zart.pause_rules", waiting=6):
        await none_stands_still([*dispatch(process), lambda: client.restart("z1")])
    await read()


async def test_so_do_reads_and_watches_of_batches(process: Rig) -> None:
    client = process.client
    [batch_id] = await ended_batches(process, 1)
    wants: list[Call] = [
        lambda: client.get_batch(batch_id),
        lambda: watched(client.watch_batch(batch_id)),
    ]
    async with held(process, wants, "LOCK TABLE zart.batches", waiting=6):
        await none_stands_still([*dispatch(process), lambda: client.restart("z1")])
    assert (await client.get_batch(batch_id)).status == "COMPLETED"


async def test_so_do_the_counts_of_large_batches_that_are_watched(process: Rig) -> None:
    """Of more of them than there are connections; each is counted apart."""
    client = process.client
    batch_ids = await ended_batches(process, 12)
    await process.db.execute("UPDATE zart.batches SET selected = 10001, done = 10001, refused = 0")
    wants: list[Call] = [
        partial(lambda each: watched(client.watch_batch(each)), batch_id) for batch_id in batch_ids
    ]
    async with held(process, wants, "LOCK TABLE zart.batch_items", waiting=1):
        await none_stands_still(dispatch(process))


async def test_plans_that_wait_leave_connections_to_those_who_start_and_report(
    process: Rig,
) -> None:
    client = process.client
    rule_id = await drained_rule(process)
    await none_stands_still(dispatch(process, "before"))
    wants: list[Call] = [
        lambda: client.pause(task_name="other", validate_only=True),
        lambda: client.resume(rule_id=rule_id, validate_only=True),
        lambda: client.update_pause_rule(rule_id, exempt=["before1"], validate_only=True),
    ]
    async with held(process, wants, "LOCK TABLE zart.pause_rules", waiting=2):
        await none_stands_still([*dispatch(process), lambda: client.restart("z1")])
    assert (await wants[0]()).planned


async def test_batches_that_wait_for_an_id_take_a_share_of_the_pool_only(process: Rig) -> None:
    """What they lock is many things: they stand in no line, but only some hold a connection."""
    starts = [Start("other", execution_id="taken"), Start("other")]
    wants: list[Call] = [lambda: process.client.batch_start_executions(starts)]
    lock = "INSERT INTO zart.executions (execution_id, task_name) VALUES ('taken', 'other')"
    async with held(process, wants, lock, waiting=2):
        await none_stands_still([*dispatch(process), lambda: process.client.restart("z1")])
