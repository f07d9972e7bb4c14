"""What is leased fits into its answer: a lease whose answer cannot be sent is lost to all."""

from __future__ import annotations

import asyncio

import pytest
from rig import CHAIN, LONG, Rig, until_polled

import zart
from zart import errors
from zart.testing.server import ServerUnderTest
from zart.v1 import dispatch_service_pb2 as pb
from zart.v1.dispatch_service_pb2_grpc import DispatchServiceStub

MANY = 20
LARGE = 1_000_000  # bytes; 17 such do not fit into one message
WIDE = 1000  # steps, of two executions, that wait for all of NAMES, which are ten kilobytes
NAMES = [f"{n:-<250}" for n in range(40)]
BEGINNING, NEXT = ("a", "b")


async def start(client: zart.Client, large: str, text: str) -> None:
    """Start many executions of a chain of which one step has a large input."""
    steps = [
        zart.StepSpec(name, deps, input=text if name == large else "")
        for name, deps in CHAIN.items()
    ]
    await client.register_task("t", steps)
    await client.batch_start_executions([zart.Start("t", {}, f"x{n}") for n in range(MANY)])


async def test_eager_leases_count_the_inputs_of_their_steps(rig: Rig) -> None:
    await start(rig.client, NEXT, "i" * LARGE)
    request = pb.ReportTasksRequest(dispatcher_id="d")
    request.lease_next.task_names.append("t")
    request.lease_next.max_tasks = MANY
    for task in await rig.lease(MANY):
        outcome = request.outcomes.add(task_id=task.task_id, lease_token=task.lease_token)
        outcome.completed.result_json = "1"
    response = await DispatchServiceStub(rig.client.channel).ReportTasks(request)

    assert {result.status for result in response.results} == {pb.REPORT_STATUS_RECORDED}
    assert {task.step_name for task in response.tasks} == {NEXT}
    assert response.ByteSize() < 8 * LARGE
    queued = await rig.db.fetchval("SELECT count(*) FROM zart.queue")
    assert queued == MANY - len(response.tasks)


async def test_steps_leased_to_a_long_poll_count_their_inputs(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    await rig.client.register_task("t", [zart.StepSpec(BEGINNING, input="i" * LARGE)])
    polling = asyncio.create_task(rig.client.lease_tasks("d", ["t"], max_tasks=MANY, wait=LONG))
    await until_polled(zart_server)
    await rig.client.batch_start_executions([zart.Start("t", {}, f"x{n}") for n in range(MANY)])

    leased = len(await polling)
    assert 1 <= leased < 8
    assert await rig.db.fetchval("SELECT count(*) FROM zart.queue") == MANY - leased


async def test_inputs_are_counted_in_bytes(rig: Rig) -> None:
    await start(rig.client, BEGINNING, "語" * (LARGE // 3))

    leased = await rig.lease(MANY)
    assert 1 <= len(leased) < 9
    assert await rig.db.fetchval("SELECT count(*) FROM zart.queue") == MANY - len(leased)


async def test_results_are_counted_in_bytes(rig: Rig) -> None:
    await rig.client.register_task("t", [zart.StepSpec("a"), zart.StepSpec("b", ("a",))])
    await rig.client.batch_start_executions([zart.Start("t", {}, f"x{n}") for n in range(MANY)])
    request = pb.ReportTasksRequest(dispatcher_id="d")
    request.lease_next.task_names.append("t")
    request.lease_next.max_tasks = MANY
    for task in await rig.lease(MANY):
        outcome = request.outcomes.add(task_id=task.task_id, lease_token=task.lease_token)
        outcome.completed.result_json = f'"{"語" * 200_000}"'
    response = await DispatchServiceStub(rig.client.channel).ReportTasks(request)

    assert response.ByteSize() < 8 * LARGE
    assert await rig.db.fetchval("SELECT count(*) FROM zart.queue") == MANY - len(response.tasks)


async def start_wide(client: zart.Client) -> None:
    """Start executions in which many steps wait for many of long names."""
    steps = [zart.StepSpec(name, handler="h") for name in NAMES]
    steps += [zart.StepSpec(f"w{n}", NAMES, handler="h") for n in range(WIDE // 2)]
    for execution_id in "xy":
        await client.start("t", execution_id=execution_id, steps=steps)


@pytest.mark.parametrize("is_skipped", [False, True])
async def test_the_names_of_dependencies_are_counted(rig: Rig, *, is_skipped: bool) -> None:
    """Those of skipped steps twice: an answer says which of them are."""
    await start_wide(rig.client)
    if is_skipped:
        for execution_id in "xy":
            for name in NAMES:
                await rig.client.complete_step(execution_id, name, skip=True)
    else:
        await rig.complete(*await rig.lease(), result=1)
    request = pb.LeaseTasksRequest(dispatcher_id="d", task_names=["t"], max_tasks=WIDE)
    response = await DispatchServiceStub(rig.client.channel).LeaseTasks(request)

    assert {len(task.upstream_json) for task in response.tasks} == {len(NAMES)}
    assert 6 * LARGE < response.ByteSize() < 9 * LARGE
    assert await rig.db.fetchval("SELECT count(*) FROM zart.queue") == WIDE - len(response.tasks)


async def test_eager_leases_count_the_names_of_dependencies(rig: Rig) -> None:
    await start_wide(rig.client)
    request = pb.ReportTasksRequest(dispatcher_id="d")
    request.lease_next.task_names.append("t")
    request.lease_next.max_tasks = WIDE
    for task in await rig.lease():
        outcome = request.outcomes.add(task_id=task.task_id, lease_token=task.lease_token)
        outcome.completed.result_json = "1"
    response = await DispatchServiceStub(rig.client.channel).ReportTasks(request)

    assert 3 * LARGE < response.ByteSize() < 5 * LARGE
    assert await rig.db.fetchval("SELECT count(*) FROM zart.queue") == WIDE - len(response.tasks)


async def test_results_that_are_asked_for_count_with_their_names(rig: Rig) -> None:
    names = NAMES[:15]
    await rig.start("x", {**dict.fromkeys(names, ()), "z": names})
    for task in await rig.lease():
        await rig.complete(task, result="r" * (1024 * 1024 - 100))
    (last,) = await rig.lease()
    lease = zart.Lease(last.task_id, last.lease_token)

    with pytest.raises(errors.PayloadTooLarge):
        await rig.client.get_step_results(lease, names)
    assert len(await rig.client.get_step_results(lease, names[1:])) == len(names) - 1
