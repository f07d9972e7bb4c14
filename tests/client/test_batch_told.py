"""A batch is told with what it is of, and what it does to that."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from client.each_command import EACH
from client.scripted import Run
from google.protobuf.timestamp_pb2 import Timestamp

from zart.calls.batch_operations import operation_of
from zart.calls.filters import ExecutionFilter
from zart.cli.flags import option_of
from zart.models.batch_operations import (
    BatchOperation,
    CancelExecution,
    CompleteStep,
    FailStep,
    Rerun,
    Restart,
    RetryStep,
)
from zart.v1 import batch_pb2, batch_service_pb2, filter_pb2

FILTER = ExecutionFilter(
    task_name="order",
    statuses=["FAILED", "RUNNING"],
    step_statuses=["DEAD"],
    step_pattern="charge-*",
    error_contains="it's down",
    dead_after=datetime(2026, 1, 31, tzinfo=UTC),
    rule_id="pr-7k2m9x4q",
)
OPTIONS = (
    "--task-name order --status failed,running --step-status dead --step 'charge-*'"
    """ --error-contains 'it'"'"'s down' --dead-after 2026-01-31T00:00:00Z --of-rule pr-7k2m9x4q"""
)
MANY = [f"x-{n}" for n in range(100)]


def told(run: Run, operation: BatchOperation, **selection: Any) -> dict[str, str]:
    """Return what the lines of a batch tell, by their names."""
    batch = batch_pb2.Batch(
        batch_id="ba-7k2m9x4q",
        operation=operation_of(operation),
        selection=filter_pb2.ExecutionSelection(**(selection or {"everything": True})),
        counts=batch_pb2.BatchCounts(selected=3, pending=3),
        as_of=Timestamp(seconds=86_400),
        started_at=Timestamp(seconds=2 * 86_400),
    )
    answer = batch_service_pb2.GetBatchResponse(batch=batch)
    _, out, _, _ = run("batch show ba-7k2m9x4q", ("GetBatch", answer))
    return {line[:10].strip(): line[11:] for line in out.splitlines()[1:]}


@pytest.mark.parametrize(
    ("selection", "words"),
    [
        ({"everything": True}, "everything"),
        ({"filter": FILTER.to_message()}, OPTIONS),
        ({"execution_ids": filter_pb2.ExecutionIds(execution_ids=["x"])}, "1 named execution: x"),
        (
            {"execution_ids": filter_pb2.ExecutionIds(execution_ids=MANY[:9])},
            "9 named executions",
        ),
        (
            {"execution_ids": filter_pb2.ExecutionIds(execution_ids=MANY)},
            "100 or more named executions",
        ),
    ],
)
def test_a_batch_tells_of_what_it_is(run: Run, selection: dict[str, Any], words: str) -> None:
    lines = told(run, CancelExecution(), **selection)
    assert lines["of"] == words
    assert lines["as of"] == "1970-01-02 00:00:00Z"
    assert lines["started"] == "1970-01-03 00:00:00Z"


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        (CancelExecution(), None),
        (RetryStep(), None),
        (Restart(), None),
        (
            RetryStep(max_attempts=3, accept_in_doubt=True, input={"a": 1}),
            """--max-attempts 3 --accept-in-doubt --input '{"a": 1}'""",
        ),
        (RetryStep(input=None), "--input null"),
        (Restart(payload="x" * 1_000, if_running="SUPERSEDE"),
         "--payload of 1002 characters --if-running supersede"),
        (Rerun(force_rerun=["a", "b"], preserve=["c"], include_downstream=True),
         "--rerun a,b --preserve c --include-downstream"),
        (CompleteStep(skip=True, fence=True), "--skip --fence"),
        (CompleteStep(result=True), "--result true"),
        (FailStep("no need", fence=True), "--message 'no need' --fence"),
    ],
)  # fmt: skip
def test_a_batch_tells_its_settings(run: Run, operation: BatchOperation, words: str | None) -> None:
    assert told(run, operation).get("with") == words


def test_each_condition_is_told_by_an_option_that_there_is() -> None:
    options = {text for parameter in EACH["batch restart"].params for text in parameter.opts}
    names = [field.name for field in filter_pb2.ExecutionFilter.DESCRIPTOR.fields]
    assert {option_of(name, in_filter=True) for name in names} <= options
