"""Short words for what tests do: start a graph, lease, complete, fail, look."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg
from waiting import eventually as eventually  # noqa: PLC0414 - tests have both from here

import zart
from zart.models import LeasedTask, ReportResult, StepError
from zart.testing.server import ServerUnderTest

DIAMOND = {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}
CHAIN = {"a": (), "b": ("a",), "c": ("b",)}
LONG = 60.0  # seconds: the longest that a lease waits; what is there is leased at once
QUICK = zart.Retry(max_attempts=3, initial_backoff=0.0)


def specs(graph: Mapping[str, Iterable[str]], **options: Any) -> list[zart.StepSpec]:
    """Make steps of ``{name: dependencies}``."""
    return [
        zart.StepSpec(name, tuple(deps), **{"retry": QUICK, **options})
        for name, deps in graph.items()
    ]


@dataclass
class Rig:
    """A client and a look into the database."""

    client: zart.Client
    db: asyncpg.Connection[asyncpg.Record]
    leased: dict[tuple[str, str], LeasedTask] = field(default_factory=dict)
    registers: bool = False

    async def start(
        self,
        execution_id: str = "x",
        graph: Mapping[str, Iterable[str]] = CHAIN,
        *,
        task: str = "t",
        payload: Any = None,
        **options: Any,
    ) -> str:
        """Start an inline graph, or one that it ``registers`` before; gives the run's id."""
        steps = specs(graph, **options)
        if self.registers:
            await self.client.register_task(task, steps)
        handle = await self.client.start(
            task, payload, execution_id=execution_id, steps=() if self.registers else steps
        )
        assert handle.execution is not None
        return handle.execution.current_run_id

    async def lease(self, n: int = 100, *, task: str = "t", **options: Any) -> list[LeasedTask]:
        """Lease what there is."""
        found = await self.client.lease_tasks("d", [task], max_tasks=n, **options)
        self.leased.update({(t.execution_id, t.step_name): t for t in found})
        return list(found)

    async def lease_one(
        self, step: str, execution_id: str = "x", *, wait: float = LONG, **options: Any
    ) -> LeasedTask:
        """Lease one step; others that come along are given back."""
        found = await self.lease(1000, wait=wait, **options)
        others = [t for t in found if (t.execution_id, t.step_name) != (execution_id, step)]
        await self.report(
            *(zart.Outcome(t.task_id, t.lease_token, zart.Released()) for t in others)
        )
        return next(t for t in found if (t.execution_id, t.step_name) == (execution_id, step))

    async def report(self, *outcomes: zart.Outcome) -> tuple[ReportResult, ...]:
        """Report outcomes."""
        return await self.client.report_tasks("d", outcomes)

    async def complete(self, *tasks: LeasedTask, result: Any = None) -> list[str]:
        """Complete tasks; gives the report statuses."""
        outcomes = [
            zart.Outcome(
                t.task_id, t.lease_token, zart.Completed(t.step_name if result is None else result)
            )
            for t in tasks
        ]
        return [r.status.value for r in await self.report(*outcomes)]

    async def fail(self, task: LeasedTask, *, retryable: bool = False, message: str = "no") -> str:
        """Fail a task; gives the report status."""
        ending = zart.Failed(StepError("Broken", message, ""), retryable)
        (result,) = await self.report(zart.Outcome(task.task_id, task.lease_token, ending))
        return result.status.value

    async def work(self, *, task: str = "t", fail: Iterable[str] = (), rounds: int = 100) -> None:
        """Lease and complete until nothing is left; the steps named in ``fail`` fail for good."""
        doomed = set(fail)
        for _ in range(rounds):
            found = await self.lease(1000, task=task)
            if not found:
                return
            await self.complete(*(t for t in found if t.step_name not in doomed))
            for t in found:
                if t.step_name in doomed:
                    await self.fail(t)

    async def statuses(self, execution_id: str = "x", **options: Any) -> dict[str, str]:
        """Return the steps' statuses by name."""
        state = await self.client.get_execution(execution_id, **options)
        return {s.step_name: s.status.value for s in state.steps}

    async def run_status(self, execution_id: str = "x", **options: Any) -> str:
        """Return the run's status."""
        return (await self.client.get_execution(execution_id, **options)).run.status.value

    async def dead(self, execution_id: str = "x", graph: Any = None, step: str = "b") -> None:
        """Start a graph and let one step of it die."""
        await self.start(execution_id, CHAIN if graph is None else graph)
        await self.work(fail=[step])

    @asynccontextmanager
    async def locked(self, statement: str, *arguments: Any) -> AsyncIterator[None]:
        """Hold the rows that ``statement`` locks until the context is left."""
        async with self.db.transaction():
            await self.db.execute(statement, *arguments)
            yield

    async def until_waiting(self, count: int = 1, *, at_length: bool = False) -> None:
        """Wait until so many backends of this database wait for a lock, seen by PostgreSQL.

        ``at_length``: not those who wait but a moment, and then stand in line.
        """

        async def are_waiting() -> bool:
            # Within a transaction the first look would be the last.
            await self.db.execute("SELECT pg_stat_clear_snapshot()")
            waiting: int = await self.db.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                " AND datname = current_database()"
                " AND (NOT $1 OR query_start < clock_timestamp() - interval '0.3 s')",
                at_length,
            )
            return waiting >= count

        await eventually(are_waiting)


async def until_polled(server: ServerUnderTest, calls: int = 1) -> None:
    """Wait until so many LeaseTasks calls stand in the server's line, and do nothing but wait."""

    async def are_in_line() -> bool:
        line = server.running.runtime.dispatch.long_polls._waiting
        return sum(waiter._is_idle for waiter in list(line)) >= calls

    await eventually(are_in_line)


async def maintain(server: ServerUnderTest) -> None:
    """Have the server look once more for what is due, as it does each second."""
    runtime = server.running.runtime
    for loop in (runtime.lease_sweeps, runtime.rule_looks, runtime.maintenance):
        looking = asyncio.run_coroutine_threadsafe(loop.turn(), server.loop)
        await asyncio.wrap_future(looking)


async def deafen(server: ServerUnderTest) -> None:
    """Have a server hear no hint of another one from now on."""
    stopping = server.running.runtime._notifications.stop()
    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(stopping, server.loop))
