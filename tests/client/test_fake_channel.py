"""The synchronous client on grpcio-testing's fake channel: what is sent, and what its answers become."""

from __future__ import annotations

import grpc
import pytest
from client.scripted import RULE, RUN, STEP, Script, refusal
from google.rpc import code_pb2

import zart
from zart.v1 import admin_service_pb2 as admin
from zart.v1 import execution_pb2 as states


def test_the_sync_client_sends_and_parses() -> None:
    script = Script(
        ("RetryStep", admin.RetryStepResponse(run_id="x:run:1", step=STEP)),
        ("Pause", admin.PauseResponse(rule=RULE, paused_steps=3, running_steps=1)),
        ("ListRuns", admin.ListRunsResponse(runs=[RUN], next_page_token="more")),
        ("ListRuns", admin.ListRunsResponse(runs=[RUN])),
    )
    with zart.SyncClient(script.channel, triggered_by="me") as client:
        retried = client.retry_step("x", "charge-card", max_attempts=2, reason="why")
        paused = client.pause(task_name="order", step_pattern="charge-*", expires_in=90)
        listed = list(client.list_runs("x", page_size=1))

    retry, pause, first, second = script.requests
    assert (retry.execution_id, retry.step_name, retry.max_attempts) == ("x", "charge-card", 2)
    assert (retry.triggered_by, retry.reason, len(retry.request_id)) == ("me", "why", 32)
    assert not retry.HasField("run_id")
    assert (pause.task_name, pause.step_pattern, pause.expires_in.seconds) == (
        "order",
        "charge-*",
        90,
    )
    assert not pause.HasField("execution_id")
    assert (first.page_token, second.page_token) == ("", "more")
    assert retried.step.status is zart.StepStatus.PAUSED
    assert (paused.rule_id, paused.paused_steps) == ("pr-abcd1234", 3)
    assert [r.run_number for r in listed] == [1, 1]


def test_resume_alone_is_a_value_error() -> None:
    client = zart.SyncClient(Script().channel)
    with pytest.raises(ValueError, match="everything=True"):
        client.resume()


def test_a_refusal_becomes_its_class() -> None:
    status = refusal(code_pb2.FAILED_PRECONDITION, "STEP_NOT_DEAD", "no", status="COMPLETED")
    client = zart.SyncClient(Script(("RetryStep", status)).channel)
    with pytest.raises(zart.errors.StepNotDead) as refused:
        client.retry_step("x", "a")
    assert refused.value.metadata == {"status": "COMPLETED"}
    assert refused.value.code is grpc.StatusCode.FAILED_PRECONDITION


def test_an_answer_that_is_no_plan_has_the_request_id_that_was_sent() -> None:
    script = Script(("RetryStep", admin.RetryStepResponse(run_id="x:run:1", step=STEP)))
    client = zart.SyncClient(script.channel)
    with pytest.raises(zart.errors.NotPlanned) as refused:
        client.retry_step("x", "charge-card", validate_only=True)
    (request,) = script.requests
    assert request.request_id
    assert refused.value.request_id == request.request_id


def test_an_unknown_reason_and_an_unknown_status_do_not_break_an_old_client() -> None:
    status = refusal(code_pb2.ABORTED, "FROM_THE_FUTURE", "new")
    client = zart.SyncClient(Script(("ListRuns", status)).channel)
    with pytest.raises(zart.Refused, match="new"):
        list(client.list_runs("x"))
    future = states.Run(status=99)  # type: ignore[arg-type]
    client = zart.SyncClient(Script(("ListRuns", admin.ListRunsResponse(runs=[future]))).channel)
    assert next(iter(client.list_runs("x"))).status is zart.RunStatus.UNSPECIFIED
