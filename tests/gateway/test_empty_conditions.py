"""What a change has empty, as where a program's variable is not set, never makes it mean more."""

from __future__ import annotations

import re
from typing import Any

import pytest
from gateway.sending import Http
from rig import Rig

from zart.gateway.bindings import all_services, bindings_of
from zart.v1 import filter_pb2

BATCHES = "/admin/v1/batches"
RUNNING = {"statuses": ["RUN_STATUS_RUNNING"]}
FIELDS = filter_pb2.ExecutionFilter.DESCRIPTOR.fields
TEXTS = [f.json_name for f in FIELDS if f.message_type is None and not f.is_repeated]
LISTS = [f.json_name for f in FIELDS if f.is_repeated]
WITH_PLANS = [
    re.sub(r"\{[a-z_]+\}", "x", binding.path)
    for binding in bindings_of(all_services())
    if binding.takes_body and "plan_token" in binding.request.fields_by_name
]


def cancelling(conditions: dict[str, Any]) -> dict[str, Any]:
    """Write a batch that cancels what meets conditions."""
    return {"operation": {"cancelExecution": {}}, "selection": {"filter": conditions}}


async def test_a_batch_by_an_empty_task_name_is_none_of_all_tasks(rig: Rig, http_: Http) -> None:
    await rig.start("another-tasks")

    refused = http_.post(BATCHES, cancelling({**RUNNING, "taskName": ""}))

    assert (refused.status, refused.reason) == (400, "INVALID_FIELD")
    assert refused.fields == {
        "selection.filter.taskName": "is empty: leave it out if that is meant"
    }
    assert http_.get(BATCHES).json == {}


@pytest.mark.parametrize("name", TEXTS)
def test_each_condition_that_is_empty_is_named(shared_http: Http, name: str) -> None:
    refused = shared_http.post(BATCHES, cancelling({"taskName": "t", **RUNNING, name: ""}))

    assert list(refused.fields) == [f"selection.filter.{name}"]


def test_empty_lists_with_which_a_client_begins_are_as_left_out(shared_http: Http) -> None:
    conditions = {**{name: [] for name in LISTS}, "taskName": "nothing"}

    answer = shared_http.post(BATCHES, {**cancelling(conditions), "validateOnly": True})
    assert answer.reason == "NOTHING_SELECTED"


@pytest.mark.parametrize("path", WITH_PLANS)
def test_an_empty_token_is_not_the_same_as_no_plan(shared_http: Http, path: str) -> None:
    refused = shared_http.post(path, {"planToken": ""})

    assert refused.status == 400
    assert refused.fields == {"planToken": "is empty: leave it out if that is meant"}


async def test_all_rules_stand_where_the_token_of_the_plan_is_empty(rig: Rig, http_: Http) -> None:
    await rig.client.pause(task_name="t")

    refused = http_.post("/admin/v1/resume", {"everything": True, "plan_token": ""})

    assert list(refused.fields) == ["plan_token"]
    assert [rule.status async for rule in rig.client.list_pause_rules()] == ["ACTIVE"]


def test_what_is_read_may_be_narrowed_by_nothing(shared_http: Http) -> None:
    for query in ("taskName=&pageToken=", "filter.taskName=&filter.executionIdPrefix="):
        assert shared_http.get(f"/api/v1/executions?{query}").status == 200
    plan = {"olderThan": "9s", "validateOnly": True, "pageToken": ""}
    assert shared_http.post("/admin/v1/purge", plan).status == 200
