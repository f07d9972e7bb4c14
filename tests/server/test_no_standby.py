"""No standby answers: what was cut off is done all the same, and no repeat is answered before one has it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import pytest
from batching import until_batch
from patient import patient_database
from rig import Rig, eventually, specs
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
from zart_server.embedded.postgres import Postgres
from zart_server.store.standby import reach_standby

ONE = {"a": ()}
_WRITE = "SELECT pg_logical_emit_message(true, 'test', '')"
_WAITS = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"


@dataclass
class Primary:
    """A PostgreSQL of its own, whose commits may wait for a standby that does not exist."""

    folder: Path
    postgres: Postgres

    def wait_for(self, standbys: str) -> None:
        """Have commits wait for these standbys from soon on."""
        setting = self.folder / "data/postgresql.auto.conf"
        setting.write_text(f"synchronous_standby_names = '{standbys}'\n")
        self.postgres.process.send_signal(signal.SIGHUP)

    @contextlib.asynccontextmanager
    async def without_standby(self) -> AsyncIterator[None]:
        """Have each commit wait, until the context is left."""
        look = await asyncpg.connect(self.postgres.url)
        probe = await asyncpg.connect(self.postgres.url)
        try:
            await probe.execute("SET synchronous_commit = on")
            self.wait_for("nobody")
            writing = asyncio.create_task(_write_on(probe))
            await eventually(lambda: look.fetchval(_WAITS))
            writing.cancel()
            await asyncio.wait([writing])
            yield
        finally:
            self.wait_for("")
            probe.terminate()
            look.terminate()


async def _write_on(probe: asyncpg.Connection[asyncpg.Record]) -> None:
    while True:
        await probe.execute(_WRITE)


@pytest.fixture(scope="module")
def primary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Primary]:
    """One for all tests of this module."""
    folder = tmp_path_factory.mktemp("primary") / "pg"
    with postgres.running(folder, durable=False) as running:
        yield Primary(folder, running)


@pytest.fixture
async def rig(primary: Primary) -> AsyncIterator[Rig]:
    """A server that gives up after a second, or six for a report, and its client."""
    with serving(primary.postgres.url, operation_timeout=1.0, statement_timeout=1.0) as server:
        async with zart.connect(server.address, timeout=GIVE_UP) as client:
            db = await asyncpg.connect(primary.postgres.url)
            yield Rig(client, db)
            db.terminate()


Call = Callable[[], Awaitable[Any]]


@dataclass(frozen=True)
class Case:
    """A call, with a request_id that stays or without one, and SQL that tells whether it is done."""

    call: Call
    is_done: str

    async def cut_off(self) -> None:
        """Make the call, which is cut off as it waits for the standby."""
        with pytest.raises((OperationTimeout, grpc.aio.AioRpcError)) as error:
            await self.call()
        if isinstance(error.value, grpc.aio.AioRpcError):
            assert error.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def a_start(rig: Rig) -> Case:
    await rig.client.register_task("started", specs(ONE))
    return Case(
        lambda: rig.client.start("started", execution_id="s1", request_id="s1"),
        "SELECT EXISTS (SELECT FROM zart.requests WHERE request_id = 's1')",
    )


async def a_start_of_what_is_there(rig: Rig) -> Case:
    await rig.client.register_task("there", specs(ONE))
    start = StartExecutionRequest(
        task_name="there", execution_id="s2", if_exists=IfExists.IF_EXISTS_RETURN
    )
    return Case(
        lambda: ExecutionServiceStub(rig.client.channel).StartExecution(start),
        "SELECT EXISTS (SELECT FROM zart.executions WHERE execution_id = 's2')",
    )


async def a_batch_of_starts(rig: Rig) -> Case:
    await rig.client.register_task("many", specs(ONE))
    start = StartExecutionRequest(
        task_name="many", execution_id="s3", if_exists=IfExists.IF_EXISTS_RETURN
    )
    starts = BatchStartExecutionsRequest(requests=[start])
    return Case(
        lambda: ExecutionServiceStub(rig.client.channel).BatchStartExecutions(starts),
        "SELECT EXISTS (SELECT FROM zart.executions WHERE execution_id = 's3')",
    )


async def a_restart(rig: Rig) -> Case:
    await rig.start("r", ONE, task="restarted")
    return Case(
        lambda: rig.client.restart("r", request_id="r"),
        "SELECT EXISTS (SELECT FROM zart.requests WHERE request_id = 'r')",
    )


async def a_pause(rig: Rig) -> Case:
    return Case(
        lambda: rig.client.pause(task_name="paused", request_id="p"),
        "SELECT EXISTS (SELECT FROM zart.requests WHERE request_id = 'p')",
    )


async def a_resume(rig: Rig) -> Case:
    rule_id = (await rig.client.pause(task_name="resumed")).rule_id
    return Case(
        lambda: AdminServiceStub(rig.client.channel).Resume(ResumeRequest(rule_id=rule_id)),
        f"SELECT deleted_at IS NOT NULL FROM zart.pause_rules WHERE rule_id = '{rule_id}'",
    )


async def a_registration(rig: Rig) -> Case:
    return Case(
        lambda: rig.client.register_task("registered", specs(ONE)),
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
        lambda: BatchServiceStub(rig.client.channel).CancelBatch(
            CancelBatchRequest(batch_id=made.batch_id)
        ),
        f"SELECT status = 'cancelled' FROM zart.batches WHERE batch_id = '{made.batch_id}'",
    )


async def a_breaker_that_is_tripped(rig: Rig) -> Case:
    made = await rig.client.create_breaker(task_name="broken", failure_threshold=3, window=60.0)
    return Case(
        lambda: BreakerServiceStub(rig.client.channel).TripBreaker(
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
    primary: Primary, rig: Rig, case: Callable[[Rig], Awaitable[Case]]
) -> None:
    made = await case(rig)

    async def is_cut_off_when_done() -> Any:
        await made.cut_off()
        return await rig.db.fetchval(made.is_done)

    async with primary.without_standby():
        await eventually(is_cut_off_when_done)  # where the machine is busy it may not get so far
        await made.cut_off()

    async def is_answered() -> bool:
        with contextlib.suppress(OperationTimeout):  # until PostgreSQL has reread what it waits for
            await made.call()
            return True
        return False

    await eventually(is_answered)


@pytest.mark.parametrize(
    "ending",
    [zart.Completed("done"), zart.Failed(StepError("No", "no", ""), retryable=False)],
    ids=["completed", "failed"],
)
async def test_so_is_an_outcome(
    primary: Primary, rig: Rig, ending: zart.Completed | zart.Failed
) -> None:
    name = type(ending).__name__
    await rig.start(name, ONE, task=name)
    [task] = await rig.lease(task=name)
    outcome = zart.Outcome(task.task_id, task.lease_token, ending)
    ended = (
        "SELECT count(*) FROM zart.steps JOIN zart.runs USING (run_key)"
        " JOIN zart.executions USING (execution_key) WHERE execution_id = $1"
        " AND steps.status IN ('completed', 'dead')"
    )
    async with primary.without_standby():
        first = asyncio.create_task(rig.report(outcome))  # which the client repeats
        await eventually(lambda: rig.db.fetchval(ended, name))
        repeat = asyncio.create_task(rig.report(outcome))

        async def waits() -> bool:
            return repeat.done() or await rig.db.fetchval(_WAITS) > 0

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
    with serving(primary.postgres.url):  # the schema is there
        pass
    async with primary.without_standby():
        with serving(primary.postgres.url) as server:
            async with zart.connect(server.address, timeout=GIVE_UP) as client:
                with pytest.raises(zart.errors.ExecutionNotFound):
                    await client.get_execution("nobody")
