"""The inputs table of RELIABILITY: each gets a clear answer, and nothing is lost or stored."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp
from rig import CHAIN, LONG, Rig
from stored import count_operations

import zart
from zart import errors
from zart.calls.call import Call
from zart.v1 import admin_service_pb2 as admin
from zart.v1 import dispatch_service_pb2 as dispatch
from zart.v1 import execution_service_pb2 as execution
from zart.v1 import task_definition_pb2

STEP = task_definition_pb2.StepSpec(step_name="a")


async def send(rig: Rig, request: Any) -> Any:
    """Send a request as it is."""
    name = type(request).__name__.removesuffix("Request")
    service = next(iter(request.DESCRIPTOR.file.services_by_name.values()))
    return await rig.client.send(Call(service.methods_by_name[name], request, lambda m: m))


async def refused(rig: Rig, request: Any) -> list[str]:
    """Send what is to be refused as an invalid field; gives the fields named."""
    before = await count_operations(rig.db)
    with pytest.raises(errors.InvalidField) as error:
        await send(rig, request)
    assert await count_operations(rig.db) == before
    return list(error.value.fields)


@pytest.mark.parametrize("name", ["", " ", "\t ", "x" * 256, "ü" * 128, "a\x00b", "a\nb", "\x7f"])
async def test_bad_ids_and_names(rig: Rig, name: str) -> None:
    assert await refused(rig, admin.RestartRequest(execution_id=name)) == ["execution_id"]
    assert await refused(rig, admin.RetryStepRequest(execution_id="x", step_name=name)) == [
        "step_name"
    ]
    assert await refused(rig, execution.StartExecutionRequest(task_name=name, steps=[STEP])) == [
        "task_name"
    ]
    assert await refused(rig, admin.PauseRequest(execution_id=name)) == ["execution_id"]
    assert await refused(rig, admin.ListRunsRequest(execution_id=name)) == ["execution_id"]


async def test_all_bad_fields_are_named_at_once(rig: Rig) -> None:
    bad = admin.RetryStepRequest(
        execution_id=" ", step_name="", max_attempts=0, reason="x" * 1001, request_id="r" * 65
    )
    assert await refused(rig, bad) == [
        "execution_id", "step_name", "max_attempts", "reason", "request_id",
    ]  # fmt: skip
    listing = admin.ListRunsRequest(execution_id="", page_size=-1, page_token="?")
    assert await refused(rig, listing) == ["execution_id", "page_size", "page_token"]
    steps = [task_definition_pb2.StepSpec(step_name=" ", handler="\n") for _ in range(5000)]
    graph = execution.StartExecutionRequest(task_name="t", steps=steps)
    assert (await refused(rig, graph))[:3] == [
        "steps[0].step_name", "steps[0].handler", "steps[1].step_name",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name", ["%", "_", "a:run:0", "' OR 1=1--", "🚀", "x" * 255, "a/b", "a b", "[x]", "\\", "%s"]
)
async def test_odd_ids_are_taken_literally(rig: Rig, name: str) -> None:
    await rig.start(name, {name: ()}, task=name)
    await rig.start("other", {"a": ()}, task="other")
    paused = await rig.client.pause(execution_id=name)
    assert paused.paused_steps == 1
    await rig.client.resume(execution_id=name)
    (task,) = await rig.lease(task=name, wait=LONG)
    assert (task.execution_id, task.step_name) == (name, name)
    assert await rig.complete(task) == ["RECORDED"]
    assert (await rig.client.restart(name)).new_run_id == f"{name}:run:1"
    assert [e.execution_id for e in await rig.client.list_executions(task_name=name)] == [name]
    assert await rig.run_status("other") == "SCHEDULED"


DEEP = "[" * 65 + "]" * 65


@pytest.mark.parametrize(
    "text",
    ["{", "", "NaN", "Infinity", "1e400", '"\\ud800"', '"\\u0000"', DEEP, "01", "'a'", "{'a':1}",
     '{"a":1}x', "\ufeff1", "nul", '"\n"'],
)  # fmt: skip
async def test_payloads_that_are_not_json(rig: Rig, text: str) -> None:
    start = execution.StartExecutionRequest(task_name="t", steps=[STEP], payload_json=text)
    assert await refused(rig, start) == ["payload_json"]
    await rig.start("x", CHAIN)
    restart = admin.RestartRequest(execution_id="x", payload_json=text)
    assert await refused(rig, restart) == ["payload_json"]
    assert len(await rig.client.list_runs("x")) == 1


@pytest.mark.parametrize("text", ["null", "[]", "0", '""', "{}", "false", "[" * 64 + "]" * 64])
async def test_small_payloads_are_accepted_and_distinct_from_absent(rig: Rig, text: str) -> None:
    request = execution.StartExecutionRequest(
        task_name="t", execution_id="x", steps=[STEP], payload_json=text
    )
    await send(rig, request)
    got = await send(rig, execution.GetExecutionRequest(execution_id="x"))
    assert got.run.HasField("payload_json")
    assert got.run.payload_json == text


async def test_a_value_payload_is_for_people_and_refuses_damaged_numbers(rig: Rig) -> None:
    value = json_format.ParseDict({"n": 7, "f": 1.5, "l": [None, True]}, Value())
    request = execution.StartExecutionRequest(
        task_name="t", execution_id="x", steps=[STEP], payload=value
    )
    await send(rig, request)
    assert (await rig.client.get_execution("x")).run.payload == {
        "n": 7,
        "f": 1.5,
        "l": [None, True],
    }

    for number in (float(2**53 + 2), float("nan"), float("inf")):
        bad = execution.StartExecutionRequest(
            task_name="t", steps=[STEP], payload=Value(number_value=number)
        )
        assert await refused(rig, bad) == ["payload"]
    empty = execution.StartExecutionRequest(task_name="t", steps=[STEP], payload=Value())
    assert await refused(rig, empty) == ["payload"]


@pytest.mark.parametrize(
    "glob", ["[", "{a", "a\\", "x" * 257, "*" * 17, "[]", "", "a]{", "[z-a]", "{a,{b}"]
)
async def test_bad_globs(rig: Rig, glob: str) -> None:
    fields = await refused(rig, admin.PauseRequest(step_pattern=glob))
    assert fields == ["step_pattern"]
    assert await rig.client.list_pause_rules() == []


@pytest.mark.parametrize(
    ("seconds", "nanos"),
    [(1, 0), (253402300800, 0), (4102444800, 1_000_000_000), (4102444800, -1), (-1, 0)],
)
async def test_bad_expiry_times(rig: Rig, seconds: int, nanos: int) -> None:
    at = Timestamp(seconds=seconds, nanos=nanos)
    assert await refused(rig, admin.PauseRequest(task_name="t", expires_at=at)) == ["expires_at"]


@pytest.mark.parametrize(
    ("seconds", "nanos"),
    [(0, 0), (-1, 0), (1, -1), (0, 1_000_000_000), (315_576_000_001, 0), (300_000_000_000, 0)],
)
async def test_bad_expiry_spans(rig: Rig, seconds: int, nanos: int) -> None:
    span = Duration(seconds=seconds, nanos=nanos)
    assert await refused(rig, admin.PauseRequest(task_name="t", expires_in=span)) == ["expires_in"]
    assert await rig.client.list_pause_rules(include_deleted=True) == []


async def test_page_sizes(rig: Rig) -> None:
    for n in range(60):
        await rig.client.pause(task_name=f"t{n}")

    async def size(asked: int) -> int:
        page = await anext(rig.client.list_pause_rules(page_size=asked).pages())
        return len(page.items)

    assert await refused(rig, admin.ListPauseRulesRequest(page_size=-1)) == ["page_size"]
    assert [await size(n) for n in (0, 10, 2**31 - 1)] == [50, 10, 60]


async def test_page_tokens_are_bound_to_their_call_and_filter(rig: Rig) -> None:
    for n in range(3):
        await rig.client.pause(task_name="t", step_pattern=f"s{n}")
        await rig.start(f"x{n}", {"a": ()})
    rules = await send(rig, admin.ListPauseRulesRequest(task_name="t", page_size=1))
    token = rules.next_page_token
    assert token
    for request in (
        admin.ListPauseRulesRequest(page_size=1, page_token=token),
        admin.ListPauseRulesRequest(task_name="u", page_size=1, page_token=token),
        admin.ListPauseRulesRequest(task_name="t", page_size=1, page_token="garbage"),
        admin.ListPauseRulesRequest(task_name="t", page_size=1, page_token=token[:-2]),
        execution.ListExecutionsRequest(page_size=1, page_token=token),
        admin.ListRunsRequest(execution_id="x0", page_size=1, page_token=token),
    ):
        assert await refused(rig, request) == ["page_token"]
    again = admin.ListPauseRulesRequest(task_name="t", page_size=2, page_token=token)
    assert len((await send(rig, again)).rules) == 2


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (admin.RestartRequest(execution_id="x", if_running=9), "if_running"),  # type: ignore[arg-type]
        (
            execution.StartExecutionRequest(task_name="t", steps=[STEP], if_exists=9),  # type: ignore[arg-type]
            "if_exists",
        ),
        (execution.ListExecutionsRequest(statuses=[99]), "statuses[0]"),  # type: ignore[list-item]
        (execution.ListExecutionsRequest(step_statuses=[0]), "step_statuses[0]"),  # type: ignore[list-item]
        (dispatch.LeaseTasksRequest(dispatcher_id="d", task_names=["t"]), "max_tasks"),
        (
            dispatch.LeaseTasksRequest(dispatcher_id="d", task_names=["t"], max_tasks=-5),
            "max_tasks",
        ),
        (dispatch.LeaseTasksRequest(dispatcher_id="d", max_tasks=1), "task_names"),
        (dispatch.LeaseTasksRequest(task_names=["t"], max_tasks=1), "dispatcher_id"),
        (
            dispatch.LeaseTasksRequest(
                dispatcher_id="d", task_names=["t"], max_tasks=1, wait=Duration(seconds=61)
            ),
            "wait",
        ),
        (
            dispatch.LeaseTasksRequest(
                dispatcher_id="d", task_names=["t"], max_tasks=1, wait=Duration(seconds=60, nanos=1)
            ),
            "wait",
        ),
        (
            dispatch.LeaseTasksRequest(
                dispatcher_id="d", task_names=["t"], max_tasks=1, lease_duration=Duration(nanos=1)
            ),
            "lease_duration",
        ),
        (admin.RestartRequest(execution_id="x", triggered_by="x" * 1001), "triggered_by"),
        (admin.RestartRequest(execution_id="x", reason="x" * 1001), "reason"),
        (admin.RestartRequest(execution_id="x", request_id="x" * 65), "request_id"),
        (admin.RestartRequest(execution_id="x", expected_run_number=-1), "expected_run_number"),
        (execution.GetExecutionRequest(execution_id="x", run_number=-1), "run_number"),
    ],
)
async def test_numbers_and_enums_out_of_range(rig: Rig, request_: Any, field: str) -> None:
    await rig.start("x", CHAIN)
    assert await refused(rig, request_) == [field]


@pytest.mark.parametrize(
    ("step", "field"),
    [
        ({"retry_policy": {"max_attempts": -1}}, "retry_policy.max_attempts"),
        ({"retry_policy": {"backoff_multiplier": 0.5}}, "retry_policy.backoff_multiplier"),
        ({"retry_policy": {"initial_backoff": "-1s"}}, "retry_policy.initial_backoff"),
        ({"timeout": "0s"}, "timeout"),
        ({"input_json": "{"}, "input_json"),
        ({"handler": "a\nb"}, "handler"),
        ({"depends_on": ["a"]}, "depends_on[0]"),
    ],
)
async def test_bad_step_specs(rig: Rig, step: dict[str, Any], field: str) -> None:
    spec = json_format.ParseDict({"step_name": "a", **step}, task_definition_pb2.StepSpec())
    request = execution.StartExecutionRequest(task_name="t", steps=[spec])
    assert await refused(rig, request) == [f"steps[0].{field}"]


async def test_too_many_leases_and_outcomes(rig: Rig) -> None:
    for none in (0, -1):
        with pytest.raises(errors.InvalidField):
            await rig.client.lease_tasks("d", ["t"], max_tasks=none)
    with pytest.raises(errors.TooManyItems) as refused:
        await rig.client.lease_tasks("d", ["t"], max_tasks=1001)
    assert refused.value.metadata["field"] == "max_tasks"
    outcome = zart.Outcome("1-1-1", 1, zart.Completed())
    with pytest.raises(errors.TooManyItems):
        await rig.client.report_tasks("d", [outcome] * 1001)
    with pytest.raises(errors.TooManyItems):
        await rig.client.extend_leases("d", [zart.Lease("1-1-1", 1)] * 1001)


async def test_a_run_id_that_is_none(rig: Rig) -> None:
    for run_id in ("x", "x:run:", "x:run:-1", ":run:0", "x:run:01x"):
        assert await refused(rig, admin.RetryStepRequest(step_name="a", run_id=run_id)) == [
            "run_id"
        ]
