"""Every row of the contract's table, and what a misspelt field does to each POST: nothing."""

from __future__ import annotations

from typing import Any

import pytest
from batching import until_batch
from gateway.sending import Http
from rig import Rig, eventually
from stored import everything

import zart
from zart.gateway.bindings import all_services, bindings_of

TABLE = [
    ("POST", "/admin/v1/executions/{execution_id}/retry-step", "RetryStep"),
    ("POST", "/admin/v1/executions/{execution_id}/complete-step", "CompleteStep"),
    ("POST", "/admin/v1/executions/{execution_id}/fail-step", "FailStep"),
    ("POST", "/admin/v1/executions/{execution_id}/restart", "Restart"),
    ("POST", "/admin/v1/executions/{execution_id}/rerun", "Rerun"),
    ("GET", "/admin/v1/executions/{execution_id}/runs", "ListRuns"),
    ("GET", "/admin/v1/in-doubt", "ListInDoubt"),
    ("POST", "/admin/v1/executions/{execution_id}/resolve-in-doubt", "ResolveInDoubt"),
    ("GET", "/admin/v1/executions/{execution_id}/compare", "CompareRuns"),
    ("POST", "/admin/v1/pause", "Pause"),
    ("GET", "/admin/v1/pause", "ListPauseRules"),
    ("GET", "/admin/v1/pause/{rule_id}", "GetPauseRule"),
    ("POST", "/admin/v1/pause/{rule_id}/update", "UpdatePauseRule"),
    ("GET", "/admin/v1/pause/{rule_id}/watch", "WatchPauseRule"),
    ("GET", "/admin/v1/pause/{rule_id}/verify", "VerifyPauseRule"),
    ("POST", "/admin/v1/pause/{rule_id}", "Resume"),
    ("POST", "/admin/v1/pause/{rule_id}/stop-release", "StopRelease"),
    ("POST", "/admin/v1/resume", "Resume"),
    ("POST", "/admin/v1/batches", "CreateBatch"),
    ("GET", "/admin/v1/batches", "ListBatches"),
    ("GET", "/admin/v1/batches/{batch_id}", "GetBatch"),
    ("GET", "/admin/v1/batches/{batch_id}/items", "ListBatchItems"),
    ("GET", "/admin/v1/batches/{batch_id}/watch", "WatchBatch"),
    ("POST", "/admin/v1/batches/{batch_id}/update", "UpdateBatch"),
    ("POST", "/admin/v1/batches/{batch_id}/pause", "PauseBatch"),
    ("POST", "/admin/v1/batches/{batch_id}/resume", "ResumeBatch"),
    ("POST", "/admin/v1/batches/{batch_id}/cancel", "CancelBatch"),
    ("POST", "/admin/v1/breakers", "CreateBreaker"),
    ("GET", "/admin/v1/breakers", "ListBreakers"),
    ("GET", "/admin/v1/breakers/{breaker_id}", "GetBreaker"),
    ("PATCH", "/admin/v1/breakers/{breaker_id}", "UpdateBreaker"),
    ("DELETE", "/admin/v1/breakers/{breaker_id}", "DeleteBreaker"),
    ("POST", "/admin/v1/breakers/{breaker_id}/trip", "TripBreaker"),
    ("POST", "/admin/v1/breakers/{breaker_id}/reset", "ResetBreaker"),
    ("POST", "/admin/v1/retention/{task_name}", "SetRetention"),
    ("DELETE", "/admin/v1/retention/{task_name}", "UnsetRetention"),
    ("GET", "/admin/v1/retention", "ListRetention"),
    ("POST", "/admin/v1/purge", "PurgeExecutions"),
    ("GET", "/admin/v1/stats", "GetStats"),
    ("GET", "/admin/v1/operations", "ListOperations"),
    ("GET", "/admin/v1/executions/{execution_id}/rule-holds", "ListRuleHolds"),
    ("POST", "/api/v1/executions", "StartExecution"),
    ("GET", "/api/v1/executions", "ListExecutions"),
    ("GET", "/api/v1/executions:count", "CountExecutions"),
    ("GET", "/api/v1/error-groups", "ListErrorGroups"),
    ("POST", "/api/v1/executions:batch", "BatchStartExecutions"),
    ("POST", "/api/v1/executions:run", "RunExecution"),
    ("GET", "/api/v1/executions/{execution_id}", "GetExecution"),
    ("GET", "/api/v1/executions/{execution_id}/explain", "ExplainStep"),
    ("GET", "/api/v1/executions/{execution_id}/watch", "WatchExecution"),
    ("POST", "/api/v1/executions/{execution_id}/cancel", "CancelExecution"),
    ("GET", "/api/v1/executions/{execution_id}/step", "GetStep"),
    ("GET", "/api/v1/tasks", "ListTaskDefinitions"),
    ("GET", "/api/v1/tasks/{task_name}", "GetTaskDefinition"),
]
STEPS = [{"stepName": "a"}]


def test_the_annotations_are_the_table() -> None:
    found = {(b.http_method, b.path, b.rpc.name) for b in bindings_of(all_services())}

    assert found == set(TABLE)


def test_all_is_served_but_what_dispatchers_ask() -> None:
    services = [each for each in all_services() if each.name != "DispatchService"]
    rpcs = {rpc.name for service in services for rpc in service.methods}

    assert {name for *_, name in TABLE} == rpcs


# A body that works as it stands, and its field that is then misspelt.
POSTS: list[tuple[str, dict[str, Any], str]] = [
    ("/admin/v1/executions/x/retry-step", {"stepName": "b", "maxAttempts": 2}, "maxAttempts"),
    ("/admin/v1/executions/x/complete-step", {"stepName": "b", "result": None}, "result"),
    ("/admin/v1/executions/x/fail-step", {"stepName": "c", "message": "no"}, "message"),
    (
        "/admin/v1/executions/x/resolve-in-doubt",
        {"stepName": "b", "attempt": 1, "finding": 1},
        "finding",
    ),
    ("/admin/v1/executions/x/restart", {"payloadJson": "1", "ifRunning": 1}, "ifRunning"),
    ("/admin/v1/executions/x/rerun", {"forceRerun": ["b"], "validateOnly": True}, "validateOnly"),
    ("/admin/v1/pause", {"taskName": "t", "stepPattern": "b"}, "stepPattern"),
    ("/admin/v1/pause/{rule_id}", {"triggeredBy": "ops"}, "triggeredBy"),
    ("/admin/v1/pause/{rule_id}/stop-release", {"reason": "worse"}, "reason"),
    ("/admin/v1/pause/{rule_id}/update", {"neverExpires": True}, "neverExpires"),
    ("/admin/v1/resume", {"taskName": "t", "stepPattern": "b"}, "stepPattern"),
    (
        "/admin/v1/batches",
        {"operation": {"restart": {}}, "selection": {"everything": True}},
        "selection",
    ),
    ("/admin/v1/batches/{batch_id}/update", {"ratePerSecond": 0.1}, "ratePerSecond"),
    ("/admin/v1/batches/{batch_id}/pause", {"triggeredBy": "ops"}, "triggeredBy"),
    ("/admin/v1/batches/{batch_id}/resume", {"triggeredBy": "ops"}, "triggeredBy"),
    ("/admin/v1/batches/{batch_id}/cancel", {"triggeredBy": "ops"}, "triggeredBy"),
    (
        "/admin/v1/breakers",
        {"breaker": {"taskName": "t", "failureThreshold": 1, "window": "9s"}},
        "breaker",
    ),
    ("/admin/v1/breakers/{breaker_id}/trip", {"triggeredBy": "ops"}, "triggeredBy"),
    ("/admin/v1/breakers/{breaker_id}/reset", {"triggeredBy": "ops"}, "triggeredBy"),
    ("/admin/v1/retention/{task_name}", {"keepFor": "9s"}, "keepFor"),
    ("/admin/v1/purge", {"olderThan": "9s", "validateOnly": True}, "validateOnly"),
    ("/api/v1/executions", {"taskName": "t", "steps": STEPS, "executionId": "y"}, "executionId"),
    ("/api/v1/executions:batch", {"requests": [{"taskName": "t", "steps": STEPS}]}, "requests"),
    (
        "/api/v1/executions:run",
        {"start": {"taskName": "t", "executionId": "ended", "ifExists": "IF_EXISTS_RETURN"}},
        "start",
    ),
    ("/api/v1/executions/x/cancel", {"expectedRunNumber": 0}, "expectedRunNumber"),
]


async def prepare(rig: Rig) -> dict[str, str]:
    """Make an execution x with a dead step, a rule, a breaker and a batch; gives their ids.

    The execution ``ended`` is one that needs no following: it is cancelled.
    """
    await rig.start("ended", {"b": ()})
    await rig.client.cancel_execution("ended")
    await rig.start("x", {"b": (), "c": ()})
    await rig.fail(await rig.lease_one("b"))
    for _ in range(2):  # a repeat waits until the answer is stored whole
        paused = await rig.client.pause(task_name="t", step_pattern="b", request_id="once")
    rule = paused.rule

    async def settled() -> bool:
        return not await rig.db.fetchval("SELECT count(*) FROM zart.pause_work")

    await eventually(settled)
    await rig.client.wait_drained(rule.rule_id)
    breaker_id = (
        await rig.client.create_breaker(task_name="t", failure_threshold=9, window=1)
    ).breaker_id
    await rig.start("other", {"c": ()})
    batch = await rig.client.create_batch(
        zart.Restart(), execution_ids=["x", "other"], canary=1, rate_per_second=0.01
    )
    await until_batch(rig.client, batch.batch_id, "PAUSED")
    ids = {"rule_id": rule.rule_id, "breaker_id": breaker_id, "batch_id": batch.batch_id}
    return {**ids, "task_name": "nobody's"}


def test_each_post_of_the_table_is_misspelt_here() -> None:
    paths = [path.replace("{execution_id}", "x") for method, path, _ in TABLE if method == "POST"]

    assert sorted(path for path, _, _ in POSTS) == sorted(paths)


@pytest.mark.parametrize(("path", "body", "field"), POSTS, ids=[post[0] for post in POSTS])
async def test_a_misspelt_field_is_named_and_nothing_happens(
    rig: Rig, http_: Http, path: str, body: dict[str, Any], field: str
) -> None:
    ids = await prepare(rig)
    before = await everything(rig.db)
    misspelt = field[:-1] + "x"
    wrong = {misspelt if name == field else name: value for name, value in body.items()}
    path = path.format(**ids)

    refused = http_.post(path, wrong)

    assert refused.status == 400
    assert refused.reason == "INVALID_FIELD"
    assert list(refused.fields) == [misspelt]
    assert f"did you mean {field}?" in refused.fields[misspelt]
    assert await everything(rig.db) == before
    right = http_.post(path, body)  # so it was that field
    assert right.status == 200 or right.reason in {"RULE_NOT_RELEASING", "NOT_IN_DOUBT"}


async def test_a_misspelt_field_further_in_is_named_by_its_path(rig: Rig, http_: Http) -> None:
    steps = [{"stepName": "a", "retryPolicy": {"maxAtempts": 1}}]

    refused = http_.post("/api/v1/executions:batch", {"requests": [{"steps": steps}]})

    assert list(refused.fields) == ["requests[0].steps[0].retryPolicy.maxAtempts"]
    assert not await rig.client.list_executions()
