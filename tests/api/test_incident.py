"""Every mutation says of which incident it is, and it is on record with what was done."""

from __future__ import annotations

import pytest
from batching import dead_steps, until_batch
from google.protobuf.descriptor import ServiceDescriptor
from rig import CHAIN, Rig
from waiting import eventually

import zart
from zart import errors
from zart.v1 import admin_service_pb2, dispatch_service_pb2, execution_service_pb2

_SERVICES: list[ServiceDescriptor] = [
    admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"],
    execution_service_pb2.DESCRIPTOR.services_by_name["ExecutionService"],
    dispatch_service_pb2.DESCRIPTOR.services_by_name["DispatchService"],
]


def test_every_request_that_says_who_asks_says_of_which_incident() -> None:
    fields = [
        set(method.input_type.fields_by_name) for each in _SERVICES for method in each.methods
    ]
    mutating = [names for names in fields if "triggered_by" in names]
    assert len(mutating) > 5
    assert all({"reason", "request_id", "incident"} <= names for names in mutating)


async def test_every_mutation_is_on_record_with_it(rig: Rig) -> None:
    call = rig.client
    steps = [zart.StepSpec("a", retry=zart.Retry(max_attempts=1))]
    await call.register_task("t", steps, incident="INC-1")
    await call.start("t", execution_id="fast", incident="INC-2")
    await call.start("t", execution_id="x", steps=steps, incident="INC-3")
    await call.batch_start_executions([zart.Start("t", None, "y")], incident="INC-4")
    await rig.work(fail=["a"])
    await call.retry_step("x", "a", incident="INC-5")
    await call.restart("x", incident="INC-6")
    await call.rerun("x", incident="INC-7")
    await call.cancel_execution("x", incident="INC-8")
    paused = await call.pause(task_name="t", incident="INC-9")
    await call.wait_drained(paused.rule_id)
    await call.resume(rule_id=paused.rule_id, incident="INC-10")

    done = [(o.kind, o.incident) for o in reversed(await call.list_operations())]
    assert done == [
        ("REGISTER_TASK", "INC-1"),
        ("START", "INC-2"),
        ("START", "INC-3"),
        ("START", "INC-4"),
        ("RETRY_STEP", "INC-5"),
        ("RESTART", "INC-6"),
        ("RERUN", "INC-7"),
        ("CANCEL", "INC-8"),
        ("PAUSE", "INC-9"),
        ("DRAIN", "INC-9"),
        ("RESUME", "INC-10"),
    ]
    seen = await rig.db.fetch("SELECT incident FROM zart_operations ORDER BY operation_id")
    assert [row["incident"] for row in seen] == [incident for _, incident in done]
    [rule] = await call.list_pause_rules(include_deleted=True)
    assert rule.incident == "INC-9"


async def test_an_item_of_a_batch_may_have_its_own(rig: Rig) -> None:
    send = execution_service_pb2.BatchStartExecutionsRequest(incident="INC-1", request_id="r")
    for name, incident in (("a", ""), ("b", "INC-2")):
        item = send.requests.add(task_name="t", execution_id=name, incident=incident)
        item.steps.add(step_name="s")
    stub = zart.v1.execution_service_pb2_grpc.ExecutionServiceStub(rig.client.channel)
    await stub.BatchStartExecutions(send)
    found = {o.execution_id: o.incident for o in await rig.client.list_operations()}
    assert found == {"a": "INC-1", "b": "INC-2"}


@pytest.mark.parametrize("bad", ["x" * 65, "é" * 33, "INC\n7", "INC\x1b[2J", "\x00"])
async def test_a_bad_one_is_refused(rig: Rig, bad: str) -> None:
    await rig.start("x", CHAIN)
    for asked in (
        rig.client.restart("x", incident=bad),
        rig.client.start("t", incident=bad),
        rig.client.register_task("t", [zart.StepSpec("a")], incident=bad),
    ):
        with pytest.raises(errors.InvalidField) as refused:
            await asked
        assert list(refused.value.fields) == ["incident"]
    assert len(await rig.client.list_runs("x")) == 1


async def test_what_is_done_to_a_rule_belongs_to_its_incident_unless_another_is_given(
    rig: Rig,
) -> None:
    call = rig.client
    rule_id = (await call.pause(task_name="t", incident="INC-7")).rule_id
    await call.update_pause_rule(rule_id, exempt=["x"])
    await call.update_pause_rule(rule_id, expires_in=3600)
    await call.update_pause_rule(rule_id, unexempt=["x"], incident="INC-8")

    found = [o.incident for o in await call.list_operations(kind="UPDATE_PAUSE_RULE")]
    assert found == ["INC-8", "INC-7", "INC-7"]


async def test_what_is_not_done_to_them_belongs_to_their_incident_likewise(rig: Rig) -> None:
    call = rig.client
    await dead_steps(call, 1)
    rule_id = (await call.pause(task_name="t", incident="INC-7")).rule_id
    batch = await call.create_batch(zart.RetryStep(), everything=True, incident="INC-9")
    await call.update_pause_rule(rule_id, exempt=["x"], validate_only=True)
    with pytest.raises(errors.RuleNotReleasing):
        await call.stop_release(rule_id)
    with pytest.raises(errors.RuleNotReleasing):
        await call.stop_release(rule_id, incident="INC-8")
    await until_batch(call, batch.batch_id, "COMPLETED")
    with pytest.raises(errors.BatchFinished):
        await call.cancel_batch(batch.batch_id)

    async def attempts() -> list[tuple[str, str]]:
        listed = await call.list_operations(statuses=["REFUSED", "PLANNED"])
        return sorted((o.kind.value, o.incident) for o in listed)

    async def are_on_record() -> bool:  # which is a moment later
        return len(await attempts()) == 4

    await eventually(are_on_record)
    assert await attempts() == [
        ("CANCEL_BATCH", "INC-9"),
        ("STOP_RELEASE", "INC-7"),
        ("STOP_RELEASE", "INC-8"),
        ("UPDATE_PAUSE_RULE", "INC-7"),
    ]


async def test_what_is_done_to_a_batch_belongs_to_its_incident_unless_another_is_given(
    rig: Rig,
) -> None:
    call = rig.client
    await dead_steps(call, 2)
    created = await call.create_batch(
        zart.RetryStep(), everything=True, rate_per_second=0.01, incident="INC-7"
    )
    await call.pause_batch(created.batch_id)
    await call.update_batch(created.batch_id, rate_per_second=0.02)
    await call.resume_batch(created.batch_id, incident="INC-8")
    await call.cancel_batch(created.batch_id)

    done = await call.list_operations(batch_id=created.batch_id)
    assert {o.kind.value: o.incident for o in done if "BATCH" in o.kind.value} == {
        "CREATE_BATCH": "INC-7",
        "PAUSE_BATCH": "INC-7",
        "UPDATE_BATCH": "INC-7",
        "RESUME_BATCH": "INC-8",
        "CANCEL_BATCH": "INC-7",
    }
