"""A filter that cannot be served is refused, and the answer names the field."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import pytest
from rig import Rig

import zart
from zart import ExecutionFilter
from zart.calls.call import Call
from zart.v1 import execution_service_pb2 as pb

_NOW = datetime.now(UTC)


@pytest.mark.parametrize(
    ("wanted", "error", "field"),
    [
        (
            {"step_pattern": "a", "step_statuses": ["RUNNING"]},
            zart.errors.FilterTooBroad,
            "filter.step_statuses",
        ),
        (
            {"error_group_id": "eg-1abcdefg", "step_statuses": ["DEAD", "PAUSED"]},
            zart.errors.FilterTooBroad,
            "filter.step_statuses",
        ),
        ({"triggered_by": "bob"}, zart.errors.FilterTooBroad, "filter.created_after"),
        (
            {"triggered_by": "bob", "created_after": _NOW - timedelta(days=8)},
            zart.errors.FilterTooBroad,
            "filter.created_after",
        ),
        ({"step_pattern": "[a"}, zart.errors.InvalidField, "filter.step_pattern"),
        ({"error_group_id": "eg-1"}, zart.errors.InvalidField, "filter.error_group_id"),
        ({"error_group_id": "eg-1ABCDEFG"}, zart.errors.InvalidField, "filter.error_group_id"),
        (
            {"rule_id": "pr-x", "step_statuses": ["DEAD"]},
            zart.errors.InvalidField,
            "filter.step_statuses",
        ),
        ({"rule_id": "pr-x", "error_contains": "x"}, zart.errors.InvalidField, "filter.rule_id"),
        ({"task_name": " "}, zart.errors.InvalidField, "filter.task_name"),
    ],
)
async def test_a_filter_that_cannot_be_served_names_the_field(
    rig: Rig, wanted: dict[str, Any], error: type[zart.Refused], field: str
) -> None:
    with pytest.raises(error) as refused:
        await rig.client.list_executions(ExecutionFilter(**wanted))

    assert refused.value.reason == error.reason
    assert refused.value.metadata["field"] == field


# Of all but the first nobody knows the version; a newer server might.
_NEVER_SEEN = ("eg-1abcdefg", "eg-00000000", "eg-deadbeef", "eg-aaaaaaaa")
Asks: TypeAlias = "Callable[[zart.Client, ExecutionFilter], Awaitable[Any]]"
_TAKE_A_FILTER: dict[str, Asks] = {
    "ListExecutions": lambda client, wanted: client.list_executions(wanted),
    "CountExecutions": lambda client, wanted: client.count_executions(wanted),
    "ListErrorGroups": lambda client, wanted: client.list_error_groups(wanted),
    "ListInDoubt": lambda client, wanted: client.list_in_doubt(wanted),
    "CreateBatch": lambda client, wanted: client.create_batch(zart.RetryStep(), filter=wanted),
}


@pytest.mark.parametrize("asks", _TAKE_A_FILTER.values(), ids=_TAKE_A_FILTER)
async def test_a_group_that_nobody_saw_is_not_found(rig: Rig, asks: Asks) -> None:
    for group in _NEVER_SEEN:
        with pytest.raises(zart.errors.ErrorGroupNotFound) as refused:
            await asks(rig.client, ExecutionFilter(error_group_id=group))

        assert refused.value.metadata == {"error_group_id": group}


async def test_a_filter_stands_alone(rig: Rig) -> None:
    with pytest.raises(zart.errors.InvalidField) as refused:
        await rig.client.list_executions(ExecutionFilter(), task_name="t")

    assert refused.value.metadata["field"] == "task_name"


async def test_an_unknown_condition_is_refused(rig: Rig) -> None:
    request = pb.ListExecutionsRequest()
    request.filter.ParseFromString(bytes([99 << 3 & 0x7F | 0x80, 99 << 3 >> 7, 1]))

    with pytest.raises(zart.errors.UnknownField) as refused:
        await rig.client.send(_raw(request))

    assert refused.value.metadata["field"] == "filter.99"


def _raw(request: pb.ListExecutionsRequest) -> Any:
    method = pb.DESCRIPTOR.services_by_name["ExecutionService"].methods_by_name["ListExecutions"]
    return Call(method, request, lambda response: response)
