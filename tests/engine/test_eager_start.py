"""Eager start: a start leases its first steps to long polls, in its own transaction."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from rig import CHAIN, LONG, Rig, eventually, specs
from waiting import until

import zart
from zart.models import LeasedTask
from zart.testing.server import ServerUnderTest, serving
from zart_server.api.mutations import runner
from zart_server.store.patience import at_most
from zart_server.store.pausing.rules import SHARE_PAUSE_LOCK

Poll = Callable[..., "asyncio.Task[tuple[LeasedTask, ...]]"]
KEEP_THE_PAUSE_LOCK = SHARE_PAUSE_LOCK.removesuffix(")").replace("_shared", "") + ")"


@pytest.fixture(autouse=True, params=["one statement", "a transaction"])
def way(rig: Rig, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How executions start: what is registered does by one statement.

    Else the first attempt gives back what it has reserved where a lock is held for a moment: here,
    for as long as by one statement.
    """
    rig.registers = request.param == "one statement"
    monkeypatch.setattr(runner, "_BRIEFLY", at_most(10.0))
    return str(request.param)


@pytest.fixture
async def poll(rig: Rig, zart_server: ServerUnderTest) -> AsyncIterator[Poll]:
    """Wait for tasks; gives a call once it stands in the line and does nothing but wait."""
    polls: list[asyncio.Task[Any]] = []

    def waiting() -> int:
        line = zart_server.running.runtime.dispatch.long_polls._waiting
        return sum(waiter._is_idle for waiter in list(line))

    async def begin(**options: Any) -> asyncio.Task[tuple[LeasedTask, ...]]:
        before = waiting()
        dispatcher_id = options.pop("dispatcher_id", "d")
        polling = asyncio.create_task(
            rig.client.lease_tasks(
                dispatcher_id, ["t"], **{"wait": LONG, "max_tasks": 10, **options}
            )
        )
        polls.append(polling)

        async def is_waiting() -> bool:
            return polling.done() or waiting() > before  # a short wait may be over by now

        await eventually(is_waiting)
        return polling

    yield begin  # type: ignore[misc]  # it is awaited for its task
    for polling in polls:
        polling.cancel()
    await asyncio.gather(*polls, return_exceptions=True)


@asynccontextmanager
async def nearly_started(rig: Rig, execution_id: str = "x") -> AsyncIterator[None]:
    """Hold a start up between its reservation and its commit."""
    async with rig.locked(KEEP_THE_PAUSE_LOCK):
        starting = asyncio.create_task(rig.start(execution_id, CHAIN))
        await rig.until_waiting()
        yield
    await starting


async def test_what_is_ready_is_leased_with_all_that_its_handler_needs(rig: Rig, poll: Any) -> None:
    polling = await poll(lease_duration=9)
    await rig.start("x", CHAIN, payload={"user": 7})
    (task,) = await polling

    (stored,) = await rig.db.fetch(
        "SELECT t.*, l.xmin = e.xmin AS at_once FROM zart_tasks t"
        " JOIN zart.leases l USING (lease_token) JOIN zart.executions e USING (execution_id)"
    )
    state = await rig.client.get_execution("x")
    assert (task.step_name, task.run_id, task.attempt) == ("a", "x:run:0", 1)
    assert (task.payload, task.upstream, task.max_attempts) == ({"user": 7}, {}, 3)
    assert task.lease_ttl.total_seconds() == 9
    assert (stored["task_id"], stored["lease_token"]) == (task.task_id, task.lease_token)
    assert (stored["lease_owner"], stored["at_once"]) == ("d", True)
    assert [s.status.value for s in state.steps] == ["RUNNING", "PENDING", "PENDING"]
    assert state.run.status.value == "RUNNING"
    assert state.run.started_at == state.steps[0].started_at


async def test_the_run_goes_on_and_ends_like_any_other(rig: Rig, poll: Any) -> None:
    polling = await poll()
    await rig.start("x", CHAIN)
    assert await rig.complete(*await polling) == ["RECORDED"]
    await rig.work()

    assert await rig.run_status() == "COMPLETED"


async def test_a_step_that_a_rule_withholds_is_not_delivered(rig: Rig, poll: Any) -> None:
    rule = (await rig.client.pause(step_pattern="a")).rule
    polling = await poll()
    await rig.start("x", {"a": (), "other": ()})
    assert [task.step_name for task in await polling] == ["other"]
    assert (await rig.statuses())["a"] == "PAUSED"

    again = await poll()
    await rig.client.resume(rule_id=rule.rule_id)
    assert [task.step_name for task in await again] == ["a"]


async def test_rules_that_change_before_the_commit_withhold_it(rig: Rig, poll: Any) -> None:
    """Another server's pause, of which this one is not told before it judges the step."""
    await rig.client.pause(task_name="another")  # the rules are at hand
    polling = await poll()
    async with rig.locked(KEEP_THE_PAUSE_LOCK):
        starting = asyncio.create_task(rig.start("x", {"a": (), "other": ()}))
        await rig.until_waiting()
        await rig.db.execute(
            "INSERT INTO zart.pause_rules (rule_id, step_pattern, step_regex, everything,"
            " created_by, reason, epoch)"
            " SELECT 'pr-x', 'a', '^a$', false, 'op', '', epoch + 1 FROM zart.pause_epoch;"
            " UPDATE zart.pause_epoch SET epoch = epoch + 1"
        )
    await starting

    assert [task.step_name for task in await polling] == ["other"]
    assert (await rig.statuses())["a"] == "PAUSED"


async def test_whoever_waits_longest_goes_first_and_gets_no_more_than_it_asked_for(
    rig: Rig, poll: Any
) -> None:
    first = await poll(dispatcher_id="first", max_tasks=2)
    second = await poll(dispatcher_id="second")
    await rig.start("x", dict.fromkeys("abc", ()))

    assert [task.step_name for task in await first] == ["a", "b"]
    assert [task.step_name for task in await second] == ["c"]


async def test_who_waits_for_something_else_goes_on_waiting(rig: Rig, poll: Any) -> None:
    other = await poll(handlers=["b"])
    mine = await poll(handlers=["a"])
    await rig.start("x", CHAIN)
    (task,) = await mine
    assert not other.done()

    await rig.complete(task)
    assert [task.step_name for task in await other] == ["b"]


async def test_a_start_that_comes_to_nothing_leaves_who_waits_as_it_was(
    rig: Rig, poll: Any
) -> None:
    """A repeat does its work, finds its request_id taken, and rolls back."""
    steps = specs({"a": ()})
    if rig.registers:
        await rig.client.register_task("t", steps)

    async def start() -> zart.Execution:
        handle = await rig.client.start(
            "t", steps=() if rig.registers else steps, request_id="once"
        )
        assert handle.execution is not None
        return handle.execution

    started = await start()
    await rig.complete(*await rig.lease())
    polling = await poll()
    assert await start() == started
    assert await rig.db.fetchval("SELECT count(*) FROM zart.executions") == 1
    assert not polling.done()

    await rig.start("x", CHAIN)
    assert [task.execution_id for task in await polling] == ["x"]


async def test_who_is_gone_at_the_commit_has_nothing(
    rig: Rig, poll: Any, zart_server: ServerUnderTest
) -> None:
    line = zart_server.running.runtime.dispatch.long_polls._waiting
    for number in range(5):  # until a start reserves it: it may be looking, for a moment
        polling = await poll()
        waiter = next(iter(list(line)))
        assert waiter.gone is not None
        async with nearly_started(rig, f"x{number}"):
            is_reserved = waiter._is_reserved
            polling.cancel()
            await asyncio.gather(polling, return_exceptions=True)
            await until(waiter.gone.is_set)  # the server knows, too
        if is_reserved:
            break
        await rig.lease(wait=LONG)

    (task,) = await rig.lease(wait=LONG)
    (released, _) = (await rig.client.get_step(f"x{number}", "a")).attempts
    assert (task.step_name, released.status.value) == ("a", "RELEASED")


async def test_who_is_reserved_something_waits_for_it(
    rig: Rig, poll: Any, zart_server: ServerUnderTest
) -> None:
    """Past the end of its wait, which a busy machine may reach before any call is reserved."""
    line = zart_server.running.runtime.dispatch.long_polls._waiting
    for number in range(6):
        wait = 0.2 * 2**number  # the longest ends before a start gives up its wait for the lock
        polling = await poll(wait=wait)
        waiter = next(iter(list(line)), None)
        async with nearly_started(rig, f"x{number}"):
            if is_reserved := waiter is not None and waiter._is_reserved:
                await asyncio.wait([polling], timeout=wait + 0.1)
                assert not polling.done()
        if is_reserved:
            break
        await rig.work()

    assert is_reserved
    assert [task.step_name for task in await polling] == ["a"]


async def test_of_many_starts_at_once_all_is_queued(rig: Rig, poll: Any) -> None:
    polling = await poll(max_tasks=100)
    starts = [zart.Start("t", None, f"x{n}", specs({"a": ()})) for n in range(60)]
    await rig.client.batch_start_executions(starts)

    assert len(await polling) == 60


async def test_a_look_where_there_was_nothing_finds_what_another_server_queued(
    rig: Rig, zart_database: str
) -> None:
    with serving(zart_database) as other:
        async with zart.connect(other.address) as elsewhere:
            assert await rig.lease(wait=0) == []
            await elsewhere.start("t", execution_id="x", steps=specs(CHAIN))
            (task,) = await rig.lease(wait=0)

    assert task.execution_id == "x"
