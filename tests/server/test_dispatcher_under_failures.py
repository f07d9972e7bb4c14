"""A dispatcher by its stream, whatever befalls its servers and the way to them: nothing is lost."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from pathlib import Path

import asyncpg
from acceptance.cutting import Cutter
from acceptance.serve_process import ServeProcess, serve_processes
from dispatching import dispatching, registered
from invariants import broken
from rig import Rig
from waiting import GIVE_UP, eventually

import zart
from zart.testing.server import ServerUnderTest

AHEAD = 200  # steps that wait to be run, at least; and executions that are started for that
MORE = 60  # steps that are completed meanwhile
LONG = 10 * GIVE_UP  # seconds of a lease: none ends, so that each step has one attempt at most


class Work:
    """Executions without an end, each of a step that may run again and one that must not."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._started = 0
        self.begun: Counter[tuple[str, str]] = Counter()
        self.done: set[tuple[str, str]] = set()
        self.task = zart.Task("t")
        self.task.step(name="again")(self._run)
        self.task.step(name="once", once=True)(self._run)

    async def _run(self, ctx: zart.StepContext) -> str:
        key = ctx.execution_id, ctx.step_name
        self.begun[key] += 1
        await asyncio.sleep(0)
        self.done.add(key)
        return "done"

    async def completed(self) -> set[tuple[str, str]]:
        """Return the steps whose outcome is recorded as what it was."""
        rows = await self._rig.db.fetch(
            "SELECT execution_id, step_name FROM zart_steps WHERE status = 'completed'"
        )
        return {(row["execution_id"], row["step_name"]) for row in rows}

    async def goes_on(self, more: int = MORE) -> None:
        """Wait until more steps were completed; there is always enough to do."""
        before = len(await self.completed())

        async def has_gone_on() -> bool:
            if await self._rig.db.fetchval("SELECT count(*) FROM zart.queue") < AHEAD:
                ids = [f"x{n}" for n in range(self._started, self._started + AHEAD)]
                await self._rig.client.batch_start_executions(
                    [zart.Start("t", None, i) for i in ids]
                )
                self._started += AHEAD
            return len(await self.completed()) >= before + more

        await eventually(has_gone_on)


async def restarted(server: ServeProcess, number: signal.Signals) -> None:
    """End a server, and have another one take its place."""
    await asyncio.to_thread(server.stop, number)
    server.start()
    await asyncio.to_thread(server.until_listening)


async def test_what_was_done_is_recorded_as_that_and_no_attempt_begins_twice(
    rig: Rig,
    zart_server: ServerUnderTest,
    zart_database: str,
    db: asyncpg.Connection[asyncpg.Record],
    tmp_path: Path,
) -> None:
    work = Work(rig)
    options = {"ZART_STREAM_AGE": "2", "ZART_DRAIN_NOTICE": "0"}
    with serve_processes(1, zart_database, tmp_path, **options) as (server,):
        other = ServeProcess(zart_database, tmp_path / "other.log")
        async with Cutter(server.address) as cutter:
            dispatcher = dispatching(
                zart_server, work.task, address=f"ipv4:{cutter.address},{other.address}",
                concurrency=8, lease=LONG, grace=GIVE_UP, keepalive=1.0, stream=True,
            )  # fmt: skip
            async with dispatcher:
                await registered(rig, "t")
                await work.goes_on()
                for _ in range(5):  # answers are lost: of leases, and of outcomes that are recorded
                    cutter.cut()
                    await work.goes_on()
                for number in (signal.SIGKILL, signal.SIGTERM):
                    await restarted(server, number)
                    await work.goes_on()
                other.start()
                try:
                    await asyncio.to_thread(other.until_listening)
                    cutter.withhold()  # and nobody is told: its pings are not answered
                    await work.goes_on(10 * MORE)
                    cutter.cut()
                    await work.goes_on()
                    with other.frozen():
                        await work.goes_on(10 * MORE)
                finally:
                    other.stop(signal.SIGKILL)
                await work.goes_on()

                async def are_recorded() -> bool:
                    return work.done <= await work.completed()

                await eventually(are_recorded)
        completed = await work.completed()
        assert completed == work.done
        once = {times for (_, step), times in work.begun.items() if step == "once"}
        assert once == {1}
        # A lease that was being sent as its stream was cut is given back where its step may run
        # again, though it may have been received: each attempt has begun once at most.
        attempts = {
            (row["execution_id"], row["step_name"]): row["count"]
            for row in await db.fetch(
                "SELECT execution_id, step_name, count(*) FROM zart_step_attempts GROUP BY 1, 2"
            )
        }
        assert work.begun.keys() <= attempts.keys()
        assert {key: times for key, times in work.begun.items() if times > attempts[key]} == {}
        endings = await db.fetch("SELECT DISTINCT status, error::text FROM zart_step_attempts")
        assert {row["status"] for row in endings} <= {"completed", "running", "released"}, endings
        assert await broken(db) == {}
