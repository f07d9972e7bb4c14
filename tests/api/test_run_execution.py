"""RunExecution: one call that starts an execution and tells how it goes on."""

from __future__ import annotations

import asyncio
import contextlib

import grpc
import pytest
from rig import CHAIN, LONG, Rig, specs
from waiting import GIVE_UP, eventually, until

import zart
from zart.testing.server import ServerUnderTest, serving
from zart.v1 import execution_pb2
from zart.v1 import execution_service_pb2 as pb
from zart.v1.execution_service_pb2_grpc import ExecutionServiceStub
from zart_server.api import policy
from zart_server.api.call_metrics import operations
from zart_server.domain.identity import Identity, Role

RUN = "/zart.v1.ExecutionService/RunExecution"


async def test_the_answer_to_the_start_comes_first_and_the_end_last(rig: Rig) -> None:
    await rig.client.register_task("t", specs(CHAIN))
    start = pb.StartExecutionRequest(task_name="t", execution_id="x", request_id="once")
    call = ExecutionServiceStub(rig.client.channel).RunExecution(
        pb.RunExecutionRequest(start=start)
    )
    told = []

    async def follow() -> None:
        async for message in call:
            told.append(message)

    following = asyncio.create_task(follow())
    await until(lambda: len(told) > 1)
    await rig.work()
    await asyncio.wait_for(following, GIVE_UP)

    assert (told[0].started.execution.execution_id, told[0].started.replayed) == ("x", False)
    assert all(message.HasField("state") for message in told[1:])
    assert {step.step_name for step in told[1].state.steps} == set(CHAIN)
    assert told[-1].state.run.status == execution_pb2.RUN_STATUS_COMPLETED


async def test_run_returns_the_result_or_raises_how_the_run_ended(rig: Rig) -> None:
    await rig.client.register_task("t", specs(CHAIN))
    running = asyncio.create_task(rig.client.run("t", {"n": 1}, execution_id="good"))
    await rig.complete(await rig.lease_one("a", "good"))
    await rig.work()
    assert await asyncio.wait_for(running, GIVE_UP) == "c"
    running = asyncio.create_task(rig.client.run("t", execution_id="bad"))
    await rig.fail(await rig.lease_one("a", "bad"))
    with pytest.raises(zart.RunFailed):
        await asyncio.wait_for(running, GIVE_UP)


async def test_a_repeat_starts_nothing_and_follows_what_was_started(rig: Rig) -> None:
    await rig.client.register_task("t", specs(CHAIN))
    with pytest.raises(TimeoutError):
        await rig.client.run("t", request_id="once", timeout=1.0)
    running = asyncio.create_task(rig.client.run("t", request_id="once"))
    (task,) = await rig.lease(wait=LONG)
    await rig.complete(task)
    await rig.work()
    assert await asyncio.wait_for(running, GIVE_UP) == "c"
    started = await rig.client.start("t", request_id="once")  # of the same request
    assert started.execution_id == task.execution_id
    assert await rig.db.fetchval("SELECT count(*) FROM zart_executions") == 1


async def test_a_refused_start_is_on_record_and_starts_nothing(rig: Rig) -> None:
    with pytest.raises(zart.errors.TaskDefinitionNotFound):
        await rig.client.run("nosuch", execution_id="x", reason="a try")

    async def recorded() -> bool:
        rows = await rig.db.fetch("SELECT * FROM zart_operation_attempts")
        return [(row["kind"], row["task_name"], row["reason"]) for row in rows] == [
            ("start", "nosuch", "a try")
        ]

    await eventually(recorded)
    assert await rig.db.fetchval("SELECT count(*) FROM zart_executions") == 0


def counted() -> dict[str, float]:
    """Return how often a start was asked for in this process, by its outcome."""
    outcomes = ("done", "refused", "failed")
    return {each: operations("start", each)._value.get() for each in outcomes}


@pytest.mark.parametrize("is_gone", [False, True])
async def test_what_ends_the_following_of_a_run_is_no_outcome_of_its_start(
    rig: Rig, zart_database: str, *, is_gone: bool
) -> None:
    await rig.client.register_task("t", specs(CHAIN))
    before = counted()
    with contextlib.ExitStack() as until_stopped:
        server = await asyncio.to_thread(until_stopped.enter_context, serving(zart_database))
        async with zart.connect(server.address) as client:
            call = ExecutionServiceStub(client.channel).RunExecution(
                pb.RunExecutionRequest(start=pb.StartExecutionRequest(task_name="t"))
            )
            following = aiter(call)
            await anext(following)
            await anext(following)
            if is_gone:
                async with rig.db.transaction():
                    await rig.db.execute("SET LOCAL zart.purge = 'on'")
                    await rig.db.execute("TRUNCATE zart.executions CASCADE")
                server.loop.call_soon_threadsafe(server.running.runtime.watches.changed_all)
            else:
                await asyncio.to_thread(until_stopped.close)
            with pytest.raises(grpc.aio.AioRpcError) as ended:
                await anext(following)
        await asyncio.to_thread(until_stopped.close)  # which writes what is to be on record
    code = grpc.StatusCode.NOT_FOUND if is_gone else grpc.StatusCode.UNAVAILABLE
    assert ended.value.code() is code
    assert counted() == before | {"done": before["done"] + 1}
    assert await rig.db.fetchval("SELECT count(*) FROM zart_operation_attempts") == 0


def test_it_needs_both_roles() -> None:
    need = policy.need_of(RUN, exists=True)
    both = Identity("b", frozenset({Role.STARTER, Role.VIEWER}))
    starter, viewer = (Identity("s", frozenset({role})) for role in (Role.STARTER, Role.VIEWER))
    assert policy.missing(both, need) is None
    assert policy.missing(starter, need) is Role.VIEWER
    assert policy.missing(viewer, need) is Role.STARTER
    assert policy.missing(Identity("a", frozenset({Role.ADMIN})), need) is None


async def test_a_run_that_waits_takes_a_place_of_calls_that_wait(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    await rig.client.register_task("t", specs(CHAIN))
    with pytest.raises(TimeoutError):
        await rig.client.run("t", timeout=1.0)
    await until(lambda: not zart_server.running.runtime.watches)
