"""A step that is queued tells whether dispatchers ask for its task: a second after the first did."""

from __future__ import annotations

from rig import Rig, eventually

import zart
from zart.v1 import dispatch_service_pb2 as pb
from zart.v1.dispatch_service_pb2_grpc import DispatchServiceStub


async def test_a_task_tells_when_a_dispatcher_last_asked(rig: Rig) -> None:
    await rig.client.register_task("reg", [zart.StepSpec("a")])
    await rig.client.start("reg", execution_id="x")
    step = await rig.client.get_step("x", "a")
    assert step.waiting_on == "a dispatcher: none has ever asked for reg"

    await rig.client.lease_tasks("d", ["other"])
    await rig.client.lease_tasks("d", ["reg"], handlers=["b"])

    async def is_told() -> bool:
        step = await rig.client.get_step("x", "a")
        return step.waiting_on == "a dispatcher with a free slot"

    await eventually(is_told)


async def test_a_dispatcher_that_leases_by_its_reports_only_asks_as_well(rig: Rig) -> None:
    await rig.client.register_task("reg", [zart.StepSpec("a")])
    await rig.client.start("reg", execution_id="x")
    request = pb.ReportTasksRequest(dispatcher_id="d")
    request.lease_next.task_names.append("reg")
    request.lease_next.handlers.append("b")
    request.lease_next.max_tasks = 1
    request.lease_next.lease_duration.FromSeconds(30)
    request.outcomes.add(task_id="1-0-1", lease_token=1).completed.result_json = "1"
    await DispatchServiceStub(rig.client.channel).ReportTasks(request)

    async def is_told() -> bool:
        step = await rig.client.get_step("x", "a")
        return step.waiting_on == "a dispatcher with a free slot"

    await eventually(is_told)
