"""Callers of every kind and a dispatcher, busy until told to stop, who note each call that fails."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import grpc
import grpc.aio
from invariants import broken
from waiting import GIVE_UP, until

import zart
from zart.dispatcher.service import Dispatcher
from zart.v1 import admin_service_pb2 as admin
from zart.v1 import execution_service_pb2 as pb
from zart.v1.admin_service_pb2_grpc import AdminServiceStub
from zart.v1.execution_service_pb2_grpc import ExecutionServiceStub
from zart.v1.task_definition_pb2 import StepSpec

# Seconds between two calls of a kind: some meet each moment of a restart, which takes many of these.
_PAUSE = 0.1
task = zart.Task("loaded", sequential=True)


@task.step()
async def one(ctx: zart.StepContext) -> int:
    """Let a call or two pass."""
    await asyncio.sleep(0.02)
    return 1


@task.step()
async def two(ctx: zart.StepContext) -> int:
    """Return what the execution's result is."""
    return ctx.result_of(one) + 1


@dataclass
class Load:
    """What was done so far, and what of it failed.

    ``dispatcher``: how the dispatcher reaches the servers, which it does by its stream.
    """

    channels: Callable[[], grpc.aio.Channel]
    dispatcher: dict[str, Any]
    done: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    runs: dict[str, int] = field(default_factory=dict)  # how many each execution must have
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    @contextlib.asynccontextmanager
    async def busy(self, callers: int = 4) -> AsyncIterator[None]:
        """Keep callers and a dispatcher busy until the context is left; let work be finished."""
        end = asyncio.Event()
        dispatcher = Dispatcher([task], lease=2, stream=True, **self.dispatcher)
        working = asyncio.create_task(dispatcher.run(end))
        async with zart.Client(self.channels(), triggered_by="load") as client:
            # What other calls rest on, such as the definition, is there.
            await client.register_task(task.name, task.specs)
            calling = [
                *(asyncio.create_task(self._call(client)) for _ in range(callers)),
                asyncio.create_task(self._hold_back(client)),
            ]
            try:
                yield
            finally:
                self._stop.set()
                await asyncio.gather(*calling)
                end.set()
                await working

    @contextlib.asynccontextmanager
    async def impatient(self, channel: grpc.aio.Channel) -> AsyncIterator[None]:
        """Keep callers busy who repeat nothing, whatever comes."""
        calling = [
            asyncio.create_task(self._read_once(channel)),
            asyncio.create_task(self._restart_once(channel)),
        ]
        try:
            yield
        finally:
            self._stop.set()
            await asyncio.gather(*calling)

    async def until(self, more: int) -> None:
        """Wait until so many executions more have come to their end."""
        wanted = self.done["result"] + more
        await until(lambda: self.done["result"] >= wanted)

    async def _call(self, client: zart.Client) -> None:
        while not self._stop.is_set():
            execution_id = f"x{next(self._numbers)}"
            with self._noting("start"):
                handle = await client.start(task, {"n": 1}, execution_id=execution_id)
                self.runs[execution_id] = 1
            with self._noting("result"):
                assert await handle.result(timeout=GIVE_UP) == 2
            with self._noting("read"):
                assert (await client.get_execution(execution_id)).run.status == "COMPLETED"
                assert await client.get_step(execution_id, "two")
            with self._noting("restart"):
                restarted = await client.restart(execution_id)
                self.runs[execution_id] = 2
                assert restarted.new_run_number == 1
            with self._noting("result"):
                assert await handle.result(timeout=GIVE_UP) == 2
            with self._noting("list"):
                assert len([run async for run in client.list_runs(execution_id)]) == 2
            await asyncio.sleep(_PAUSE)

    async def _hold_back(self, client: zart.Client) -> None:
        """Pause, start what it holds, see it held, and resume."""
        while not self._stop.is_set():
            execution_id = f"held{next(self._numbers)}"
            with self._noting("pause"):
                rule = (await client.pause(execution_id=execution_id)).rule
                handle = await client.start(task, execution_id=execution_id)
                self.runs[execution_id] = 1
                assert (await client.get_step(execution_id, "one")).status == "PAUSED"
                assert (await client.resume(rule_id=rule.rule_id)).rules_deleted == 1
            with self._noting("result"):
                assert await handle.result(timeout=GIVE_UP) == 2
            await asyncio.sleep(_PAUSE)

    async def _read_once(self, channel: grpc.aio.Channel) -> None:
        stub = ExecutionServiceStub(channel)
        while not self._stop.is_set():
            with self._noting("impatient read"):
                await stub.ListExecutions(pb.ListExecutionsRequest(page_size=1), timeout=GIVE_UP)
                await asyncio.sleep(_PAUSE)

    async def _restart_once(self, channel: grpc.aio.Channel) -> None:
        execution_id = f"once{next(self._numbers)}"
        executions, operations = ExecutionServiceStub(channel), AdminServiceStub(channel)
        await executions.StartExecution(
            pb.StartExecutionRequest(
                execution_id=execution_id, task_name="unasked", steps=[StepSpec(step_name="one")]
            )
        )
        self.runs[execution_id] = 1
        while not self._stop.is_set():
            with self._noting("impatient restart"):
                self.runs[execution_id] += 1
                await operations.Restart(
                    admin.RestartRequest(execution_id=execution_id), timeout=GIVE_UP
                )
                await asyncio.sleep(_PAUSE)

    @contextlib.contextmanager
    def _noting(self, what: str) -> Iterator[None]:
        try:
            yield
        except (zart.ZartError, grpc.RpcError, AssertionError, TimeoutError) as error:
            self.failed.append(f"{what}: {error!r}")
        else:
            self.done[what] += 1


async def each_ended_once(db: asyncpg.Connection[asyncpg.Record], load: Load) -> None:
    """Check in the database what the callers were told."""
    found = await db.fetch(
        "SELECT execution_id, count(*) AS runs FROM zart_execution_runs GROUP BY execution_id"
    )
    assert {row["execution_id"]: row["runs"] for row in found} == load.runs
    unfinished = await db.fetch(
        "SELECT execution_id, status FROM zart.runs JOIN zart.executions USING (execution_key)"
        " WHERE is_current AND status <> 'completed' AND task_name = $1", task.name,
    )  # fmt: skip
    assert unfinished == []
    assert await broken(db) == {}
