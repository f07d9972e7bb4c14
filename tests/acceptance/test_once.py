"""Issue 14, point 5: what must not happen twice does not, however dispatchers come to their end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import pytest
from batching import until_batch
from rig import Rig, eventually
from waiting import GIVE_UP, until

import zart
from zart.models import InDoubtAttempt
from zart.testing.server import ServerUnderTest

EXECUTIONS = 500
KILLS = 4
# Each handler notes that it began, works, has its effect, and notes that as well. Each note is one
# write of 64 bytes: none crosses a page, at which a killed write may stop and a reader may find the
# file's end.
DISPATCHER = """
import asyncio, os, random, signal, sys, threading
import zart

address, once, grace, notes = sys.argv[1], sys.argv[2] == "once", float(sys.argv[3]), sys.argv[4]
task = zart.Task("pay")
book = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
retry = None if once else zart.Retry(max_attempts=20, initial_backoff=0.1)


def note(what: str, execution_id: str) -> None:
    os.write(book, f"{what} {execution_id}".ljust(63).encode() + b"\\n")


@task.step(once=once, retry=retry)
def charge(ctx: zart.StepContext) -> str:
    note("began", ctx.execution_id)
    threading.Event().wait(random.uniform(0.1, 0.6))
    note("charged", ctx.execution_id)
    return "receipt"


async def run() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await zart.Dispatcher([task], address=address, concurrency=8, lease=6.0, grace=grace).run(stop)


asyncio.run(run())
"""


class Dispatchers:
    """Dispatchers in processes of their own, and what their handlers noted."""

    def __init__(self, folder: Path, server: ServerUnderTest, *, once: bool, grace: float) -> None:
        self._notes = folder / "notes"
        self._notes.touch()
        script = folder / "dispatcher.py"
        script.write_text(textwrap.dedent(DISPATCHER))
        kind = "once" if once else "again"
        self._line = [
            sys.executable, str(script), server.address, kind, str(grace), str(self._notes),
        ]  # fmt: skip
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start another one."""
        self._running.append(subprocess.Popen(self._line, env=dict(os.environ)))

    def kill(self) -> None:
        """Kill the oldest one, whatever it is doing."""
        killed = self._running.pop(0)
        killed.kill()
        killed.wait()

    def replace(self) -> None:
        """Have a new one take over from the oldest, as a deploy does."""
        self.start()
        replaced = self._running.pop(0)
        replaced.send_signal(signal.SIGTERM)
        assert replaced.wait(GIVE_UP) == 0

    def stop(self) -> None:
        """End all of them."""
        while self._running:
            self.kill()

    def noted(self, what: str) -> Counter[str]:
        """Return how many times handlers noted this, by execution."""
        words = (line.split() for line in self._notes.read_text().splitlines())
        return Counter(execution_id for noted, execution_id in words if noted == what)


@pytest.fixture
def dispatchers(
    tmp_path: Path, zart_server: ServerUnderTest, request: pytest.FixtureRequest
) -> Iterator[Dispatchers]:
    """Dispatchers as the test wants them; they end with it."""
    once, grace = request.param
    found = Dispatchers(tmp_path, zart_server, once=once, grace=grace)
    yield found
    found.stop()


async def begin(rig: Rig, dispatchers: Dispatchers) -> None:
    """Start the dispatchers and the executions."""
    for _ in range(3):
        dispatchers.start()

    async def is_registered() -> bool:
        return bool(await rig.client.list_task_definitions())

    await eventually(is_registered)
    starts = [zart.Start("pay", None, f"order-{n}") for n in range(EXECUTIONS)]
    await rig.client.batch_start_executions(starts)


async def disturb(dispatchers: Dispatchers, *, by: str) -> None:
    """Kill or replace dispatchers, each while others of the handlers are at work."""
    for number in range(KILLS):
        least = (number + 1) * EXECUTIONS // (KILLS + 2)
        await until(lambda least=least: len(dispatchers.noted("began")) >= least)  # type: ignore[misc]
        if by == "kill":
            dispatchers.kill()
            dispatchers.start()
        else:
            dispatchers.replace()


async def until_ended(rig: Rig) -> Counter[str]:
    """Wait until all executions have ended; return how many ended how."""

    async def have_ended() -> bool:
        left: int = await rig.db.fetchval(
            "SELECT count(*) FROM zart.runs WHERE status IN ('scheduled', 'running')"
        )
        return left == 0

    await eventually(have_ended)
    rows = await rig.db.fetch("SELECT status FROM zart.runs WHERE is_current")
    return Counter(row["status"] for row in rows)


async def resolve_by_hand(
    rig: Rig, listed: Sequence[InDoubtAttempt], happened: Collection[str]
) -> None:
    """Find out, one by one: what was charged is completed by hand, the rest is run again."""
    for item in listed:
        has_happened = item.execution_id in happened
        await rig.client.resolve_in_doubt(
            item.execution_id,
            item.step_name,
            "HAPPENED" if has_happened else "DID_NOT_HAPPEN",
            run_number=item.run_number,
            attempt=item.attempt,
            reason="the notes",
        )
        if has_happened:
            await rig.client.complete_step(item.execution_id, item.step_name, "receipt")
        else:
            await rig.client.retry_step(item.execution_id, item.step_name)


async def resolve_by_batches(rig: Rig, did_not_happen: Collection[str]) -> None:
    """Have those run again that were not charged, and complete whatever is dead besides."""
    if did_not_happen:
        retry = zart.RetryStep(accept_in_doubt=True)
        created = await rig.client.create_batch(retry, execution_ids=sorted(did_not_happen))
        batch = await until_batch(rig.client, created.batch_id, "COMPLETED")
        assert batch.counts.done == len(did_not_happen)
    dead = zart.ExecutionFilter(task_name="pay", step_pattern="charge", error_contains="InDoubt")
    if await rig.client.list_executions(dead):
        created = await rig.client.create_batch(zart.CompleteStep("receipt"), filter=dead)
        batch = await until_batch(rig.client, created.batch_id, "COMPLETED")
        assert batch.counts.done == batch.counts.selected


HOW = [("kill", (True, 10.0)), ("deploy", (True, 0.05))]


@pytest.mark.parametrize(
    ("by", "dispatchers"), HOW, indirect=["dispatchers"], ids=["kill", "deploy"]
)
async def test_none_runs_twice_each_is_listed_and_resolved(
    rig: Rig, dispatchers: Dispatchers, by: str
) -> None:
    await begin(rig, dispatchers)
    await disturb(dispatchers, by=by)
    ended = await until_ended(rig)
    assert ended.total() == EXECUTIONS
    began, charged = dispatchers.noted("began"), dispatchers.noted("charged")
    assert set(began.values()) == {1}  # none ran twice
    listed = [item async for item in rig.client.list_in_doubt()]
    doubted = {item.execution_id for item in listed}
    assert len(doubted) == len(listed) == ended["failed"]
    assert doubted  # else nothing was disturbed
    completed = await rig.db.fetch("SELECT execution_id FROM zart_steps WHERE status = 'completed'")
    assert {row["execution_id"] for row in completed} == began.keys() - doubted
    happened = doubted & charged.keys()
    if by == "kill":
        await resolve_by_hand(rig, listed, happened)
    else:
        await resolve_by_batches(rig, doubted - happened)
    ended = await until_ended(rig)
    assert not await rig.client.list_in_doubt()
    assert ended == {"completed": EXECUTIONS}
    assert dispatchers.noted("charged") == Counter(f"order-{n}" for n in range(EXECUTIONS))


HOW_ELSE = [("kill", (False, 10.0)), ("deploy", (False, 0.05))]


@pytest.mark.parametrize(
    ("by", "dispatchers"), HOW_ELSE, indirect=["dispatchers"], ids=["kill", "deploy"]
)
async def test_what_may_run_twice_was_run_again(
    rig: Rig, dispatchers: Dispatchers, by: str
) -> None:
    await begin(rig, dispatchers)
    await disturb(dispatchers, by=by)
    assert await until_ended(rig) == {"completed": EXECUTIONS}
    ended = await rig.db.fetch(
        "SELECT execution_id, status FROM zart_step_attempts WHERE status IN ('lost', 'released')"
    )
    assert "lost" in {row["status"] for row in ended}
    # A lease that was being sent as its dispatcher was killed is given back, though it may have
    # been received.
    again = Counter(row["execution_id"] for row in ended)
    began = dispatchers.noted("began")
    assert {name: times for name, times in began.items() if times > 1 + again[name]} == {}
    assert not await rig.client.list_in_doubt()  # nothing of it stops anything
