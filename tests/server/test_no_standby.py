"""No standby answers: what was cut off is done all the same, and no repeat is answered before one has it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import grpc
import pytest
from batching import until_batch
from patient import patient_database
from rig import Rig, eventually, specs
from server.primary import WAITS, Primary
from waiting import GIVE_UP

import zart
from zart.errors import OperationTimeout
from zart.models import StepError
from zart.testing.server import serving
from zart.v1.admin_service_pb2 import ResumeRequest
from zart.v1.admin_service_pb2_grpc import AdminServiceStub
from zart.v1.batch_service_pb2 import CancelBatchRequest
from zart.v1.batch_service_pb2_grpc import BatchServiceStub
from zart.v1.breaker_service_pb2 import TripBreakerRequest
from zart.v1.breaker_service_pb2_grpc import BreakerServiceStub
from zart.v1.execution_service_pb2 import (
    BatchStartExecutionsRequest,
    IfExists,
    StartExecutionRequest,
)
from zart.v1.execution_service_pb2_grpc import ExecutionServiceStub
from zart_server.embedded import postgres
from zart_server.store.standby import reach_standby

ONE = {"a": ()}


@pytest.fixture(scope="module")
def primary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Primary]:
    """One for all tests of this module."""
    folder = tmp_path_factory.mktemp("primary") / "pg"
    with postgres.running(folder, durable=False) as running:
        with serving(running.url):  # the schema is there
            pass
        yield Primary(folder, running)


@pytest.fixture
async def db(primary: Primary) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection to its database."""
    connection = await asyncpg.connect(primary.postgres.url)
    yield connection
    connection.terminate()


@contextlib.asynccontextmanager
async def unhurried(db: asyncpg.Connection[asyncpg.Record], primary: Primary) -> AsyncIterator[Rig]:
    """A server that gives up nothing, for what is to be there before commits wait.

    It is not to hold locks by then, in commits of its own.
    """
    with serving(primary.postgres.url) as server:
        async with zart.connect(server.address, timeout=GIVE_UP) as client:
            yield Rig(client, db)


@pytest.fixture
async def hasty(primary: Primary) -> AsyncIterator[zart.Client]:
    """A client of a server that gives up after a second, or six for a report."""
    with serving(primary.postgres.url, operation_timeout=1.0, statement_timeout=1.0) as server:
        async with zart.connect(server.address, timeout=GIVE_UP) as client:
            yield client


Call = Callable[[zart.Client], Awaitable[Any]]


@dataclass(frozen=True)
class Case:
    """A call, with a request_id that stays or without one, and SQL that tells whether it is done."""

    call: Call
    is_done: str

    async def is_answered(self, client: zart.Client) -> bool:
        """Make the call; it is cut off if it waits for the standby."""
        try:
            await self.call(client)
        except OperationTimeout:
            return False
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
                raise
            return False
        return True


async def a_start(rig: Rig) -> Case:
    await rig.client.register_task("started", specs(ONE))
    return Case(
        lambda client: client.start("started", execution_id="s1", request_id="s1"),
        "SELECT EXISTS (SELECT FROM zart.requests WHERE request_id = 's1')",
    )


async def a_start_of_what_is_there(rig: Rig) -> Case:
    await rig.client.register_task("there", specs(ONE))
    start = StartExecutionRequest(
        task_name="there", execution_id="s2", if_exists=IfExists.IF_EXISTS_RETURN
    )
    return Case(
        lambda client: ExecutionServiceStub(client.channel).StartExecution(start),
        "SELECT EXISTS (SELECT FROM zart.executions WHERE execution_id = 's2')",
    )


async def a_batch_of_starts(rig: Rig) -> Case:
    await rig.client.register_task("many", specs(ONE))
    start = StartExecutionRequest(
        task_name="many", execution_id="s3", if_exists=IfExists.IF_EXISTS_RETURN
    )
    starts = BatchStartExecutionsRequest(requests=[start])
    return Case(
        lambda client: ExecutionServiceStub(client.channel).BatchStartExecutions(starts),
        "SELECT EXISTS (SELECT FROM zart.executions WHERE execution_id = 's3')",
    )


async def a_restart(rig: Rig) -> Case:
    await rig.start("r", ONE, task="restarted")
    return Case(
        lambda client: client.restart("r", request_id="r"),
        "SELECT EXISTS (SELECT FROM zart.requests WHERE request_id = 'r')",
    )


async def a_pause(rig: Rig) -> Case:
    return Case(
        lambda client: client.pause(task_name="paused", request_id="p"),
        "SELECT EXISTS (SELECT FROM zart.requests WHERE request_id = 'p')",
    )


async def a_resume(rig: Rig) -> Case:
    rule_id = (await rig.client.pause(task_name="resumed")).rule_id
    return Case(
        lambda client: AdminServiceStub(client.channel).Resume(ResumeRequest(rule_id=rule_id)),
        f"SELECT deleted_at IS NOT NULL FROM zart.pause_rules WHERE rule_id = '{rule_id}'",
    )


async def a_registration(rig: Rig) -> Case:
    return Case(
        lambda client: client.register_task("registered", specs(ONE)),
        "SELECT EXISTS (SELECT FROM zart.task_names WHERE task_name = 'registered')",
    )


async def a_batch_that_is_cancelled(rig: Rig) -> Case:
    for name in ("b1", "b2"):
        await rig.start(name, ONE, task="batched")
    made = await rig.client.create_batch(
        zart.CancelExecution(), execution_ids=["b1", "b2"], canary=1
    )
    await until_batch(rig.client, made.batch_id, "PAUSED")  # else it is at work, and waits as well
    return Case(
        lambda client: BatchServiceStub(client.channel).CancelBatch(
            CancelBatchRequest(batch_id=made.batch_id)
        ),
        f"SELECT status = 'cancelled' FROM zart.batches WHERE batch_id = '{made.batch_id}'",
    )


async def a_breaker_that_is_tripped(rig: Rig) -> Case:
    made = await rig.client.create_breaker(task_name="broken", failure_threshold=3, window=60.0)
    return Case(
        lambda client: BreakerServiceStub(client.channel).TripBreaker(
            TripBreakerRequest(breaker_id=made.breaker_id)
        ),
        f"SELECT status = 'open' FROM zart.breakers WHERE breaker_id = '{made.breaker_id}'",
    )


@pytest.mark.parametrize(
    "case",
    [
        a_start,
        a_start_of_what_is_there,
        a_batch_of_starts,
        a_restart,
        a_pause,
        a_resume,
        a_registration,
        a_batch_that_is_cancelled,
        a_breaker_that_is_tripped,
    ],
)
async def test_what_was_cut_off_is_answered_once_a_standby_has_it(
    primary: Primary,
    db: asyncpg.Connection[asyncpg.Record],
    hasty: zart.Client,
    case: Callable[[Rig], Awaitable[Case]],
) -> None:
    async with unhurried(db, primary) as rig:
        made = await case(rig)

    async def is_cut_off_when_done() -> Any:
        assert not await made.is_answered(hasty)
        return await db.fetchval(made.is_done)

    async with primary.without_standby():
        await eventually(is_cut_off_when_done)  # where the machine is busy it may not get so far
        assert not await made.is_answered(hasty)

    # PostgreSQL may not have reread yet what it waits for.
    await eventually(lambda: made.is_answered(hasty))


@pytest.mark.parametrize(
    "ending",
    [zart.Completed("done"), zart.Failed(StepError("No", "no", ""), retryable=False)],
    ids=["completed", "failed"],
)
async def test_so_is_an_outcome(
    primary: Primary,
    db: asyncpg.Connection[asyncpg.Record],
    hasty: zart.Client,
    ending: zart.Completed | zart.Failed,
) -> None:
    name = type(ending).__name__
    async with unhurried(db, primary) as rig:
        await rig.start(name, ONE, task=name)
        [task] = await rig.lease(task=name, lease_duration=600)
    outcome = zart.Outcome(task.task_id, task.lease_token, ending)
    ended = (
        "SELECT count(*) FROM zart.steps JOIN zart.runs USING (run_key)"
        " JOIN zart.executions USING (execution_key) WHERE execution_id = $1"
        " AND steps.status IN ('completed', 'dead')"
    )
    async with primary.without_standby():
        first = asyncio.create_task(hasty.report_tasks("d", [outcome]))  # which the client repeats
        await eventually(lambda: db.fetchval(ended, name))
        repeat = asyncio.create_task(hasty.report_tasks("d", [outcome]))

        async def waits() -> bool:
            return repeat.done() or await db.fetchval(WAITS) > 0

        await eventually(waits)
        assert not first.done()
        assert not repeat.done()
    for answers in await asyncio.gather(first, repeat):
        assert [answer.status for answer in answers] == ["ALREADY_RECORDED"]


async def test_without_one_to_wait_for_nothing_is_written(primary: Primary) -> None:
    db = await patient_database(primary.postgres.url, pool_size=1)
    try:
        async with db.transaction() as tx:
            await reach_standby(tx)
            assert await tx.fetchval("SELECT pg_current_xact_id_if_assigned()") is None
        async with primary.without_standby(), db.transaction() as tx:
            await reach_standby(tx)
            assert await tx.fetchval("SELECT pg_current_xact_id_if_assigned()") is not None
            primary.wait_for("")
    finally:
        await db.close()


async def test_a_server_that_begins_meanwhile_serves_reads(primary: Primary) -> None:
    """The first that it does is to draw tokens of its own: that waits for no standby."""
    async with primary.without_standby():
        with serving(primary.postgres.url) as server:
            async with zart.connect(server.address, timeout=GIVE_UP) as client:
                with pytest.raises(zart.errors.ExecutionNotFound):
                    await client.get_execution("nobody")
