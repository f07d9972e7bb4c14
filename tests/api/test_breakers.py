"""What BreakerService takes and refuses, and who may call it."""

from __future__ import annotations

from typing import Any

import pytest
from breaking import breaker
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from issuing import Connect
from rig import Rig, eventually

import zart
from zart import errors
from zart.calls.call import Call
from zart.v1 import breaker_pb2
from zart.v1 import breaker_service_pb2 as pb

METHODS = pb.DESCRIPTOR.services_by_name["BreakerService"].methods_by_name


def create(**settings: Any) -> Call[Any]:
    """Ask for a breaker."""
    wanted: dict[str, Any] = {
        "task_name": "t",
        "failure_threshold": 1,
        "window": Duration(seconds=1),
    }
    made = breaker_pb2.Breaker(**(wanted | settings))
    return Call(METHODS["CreateBreaker"], pb.CreateBreakerRequest(breaker=made), lambda m: m)


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"task_name": None}, "breaker.task_name"),
        ({"task_name": ""}, "breaker.task_name"),
        ({"step_pattern": "[a"}, "breaker.step_pattern"),
        ({"failure_threshold": 0}, "breaker.failure_threshold"),
        ({"failure_threshold": -1}, "breaker.failure_threshold"),
        ({"failure_threshold": 10_001}, "breaker.failure_threshold"),
        ({"window": None}, "breaker.window"),
        ({"window": Duration(nanos=1)}, "breaker.window"),
        ({"window": Duration(seconds=3601)}, "breaker.window"),
        ({"min_failure_ratio": 1.01}, "breaker.min_failure_ratio"),
        ({"min_failure_ratio": float("nan")}, "breaker.min_failure_ratio"),
        ({"error_group_id": "eg-9abcdefg"}, "breaker.error_group_id"),
        ({"cooldown": Duration(nanos=999_999)}, "breaker.cooldown"),
        ({"cooldown": Duration(seconds=7 * 86_400 + 1)}, "breaker.cooldown"),
        ({"probe_steps": -1}, "breaker.probe_steps"),
        ({"probe_steps": 10_001}, "breaker.probe_steps"),
        ({"rate_per_second": 0.0}, "breaker.rate_per_second"),
        ({"rate_per_second": 100_001.0}, "breaker.rate_per_second"),
        ({"rate_per_second": float("inf")}, "breaker.rate_per_second"),
        ({"breaker_id": "br-mine"}, "breaker.breaker_id"),
        ({"status": breaker_pb2.BREAKER_STATUS_OPEN}, "breaker.status"),
    ],
)
async def test_what_cannot_be_right_is_refused(
    rig: Rig, settings: dict[str, Any], field: str
) -> None:
    with pytest.raises(errors.InvalidField) as refused:
        await rig.client.send(create(**settings))
    assert list(refused.value.fields) == [field]
    assert await rig.client.list_breakers() == []


@pytest.mark.parametrize("path", ["status", "breaker_id", "nothing", "reason", "*"])
async def test_a_mask_names_settings_only(rig: Rig, path: str) -> None:
    changed = breaker_pb2.Breaker(breaker_id=await breaker(rig.client))
    request = pb.UpdateBreakerRequest(breaker=changed, update_mask=FieldMask(paths=[path]))
    with pytest.raises(errors.InvalidField, match="cannot be changed"):
        await rig.client.send(Call(METHODS["UpdateBreaker"], request, lambda m: m))


async def test_without_a_mask_what_is_set_is_changed(rig: Rig) -> None:
    changed = breaker_pb2.Breaker(breaker_id=await breaker(rig.client), failure_threshold=9)
    request = pb.UpdateBreakerRequest(breaker=changed)
    answer = await rig.client.send(Call(METHODS["UpdateBreaker"], request, lambda m: m))
    assert (answer.breaker.failure_threshold, answer.breaker.step_pattern) == (9, "charge*")


async def test_a_breaker_that_was_read_can_be_sent_back_changed(rig: Rig) -> None:
    read = pb.GetBreakerRequest(breaker_id=await breaker(rig.client))
    changed = (await rig.client.send(Call(METHODS["GetBreaker"], read, lambda m: m))).breaker
    changed.failure_threshold = 9
    request = pb.UpdateBreakerRequest(breaker=changed)
    answer = await rig.client.send(Call(METHODS["UpdateBreaker"], request, lambda m: m))
    assert answer.breaker == changed

    told = breaker_pb2.Breaker(breaker_id=changed.breaker_id, status=changed.status)
    request = pb.UpdateBreakerRequest(breaker=told)
    with pytest.raises(errors.InvalidField, match="nothing is to be changed"):
        await rig.client.send(Call(METHODS["UpdateBreaker"], request, lambda m: m))


async def test_each_field_that_cannot_be_right_is_named_once(rig: Rig) -> None:
    with pytest.raises(errors.InvalidField) as refused:
        await rig.client.send(create(failure_threshold=-1, window=None, probe_steps=-1))
    assert refused.value.message == (
        "breaker.window: has to be set; also wrong: breaker.failure_threshold, breaker.probe_steps"
    )


async def test_a_repeat_is_answered_as_before(rig: Rig) -> None:
    first = await rig.client.create_breaker(
        task_name="t", failure_threshold=1, window=1, request_id="r1"
    )
    again = await rig.client.create_breaker(
        task_name="t", failure_threshold=1, window=1, request_id="r1"
    )
    assert (again.replayed, again.breaker_id) == (True, first.breaker_id)
    await rig.client.trip_breaker(first.breaker_id, request_id="r2")
    await rig.client.reset_breaker(first.breaker_id)
    replayed = await rig.client.trip_breaker(first.breaker_id, request_id="r2")
    assert (replayed.replayed, replayed.status) == (True, "OPEN")
    assert (await rig.client.get_breaker(first.breaker_id)).status == "CLOSED"


async def test_an_unknown_field_is_refused(rig: Rig) -> None:
    newer = pb.CreateBreakerRequest.FromString(
        create().request.SerializeToString() + b"\xfa\x07\x01x"
    )
    with pytest.raises(errors.UnknownField):
        await rig.client.send(Call(METHODS["CreateBreaker"], newer, lambda m: m))
    assert await rig.client.list_breakers() == []


async def test_viewers_read_and_operators_change(connect: Connect) -> None:
    operator, viewer = connect("operator"), connect("viewer")
    breaker_id = await breaker(operator)
    assert (await viewer.get_breaker(breaker_id)).principal == "operator"
    assert [b.breaker_id for b in await viewer.list_breakers()] == [breaker_id]
    for refused in (
        viewer.trip_breaker(breaker_id),
        viewer.reset_breaker(breaker_id),
        viewer.delete_breaker(breaker_id),
        viewer.update_breaker(breaker_id, failure_threshold=1),
        breaker(viewer),
        operator.get_breaker(breaker_id),
    ):
        with pytest.raises(errors.RoleRequired):
            await refused


async def test_what_was_refused_is_on_record_with_the_breaker(rig: Rig) -> None:
    with pytest.raises(zart.errors.BreakerNotFound):
        await rig.client.update_breaker("br-none", failure_threshold=1)

    async def is_there() -> bool:
        kinds = await rig.db.fetch("SELECT kind, breaker_id FROM zart.operation_attempts")
        return [tuple(row) for row in kinds] == [("update_breaker", "br-none")]

    await eventually(is_there)
