"""What was done is told, or its key is, though the gateway cannot write all of the answer."""

from __future__ import annotations

import pytest
from gateway.scripted import RESUME, Scripted, post
from gateway.sending import Http
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2

from zart.gateway.statuses import json_of
from zart.v1 import execution_service_pb2 as pb


async def test_a_defect_after_a_change_tells_its_key(
    scripted: Scripted, http_scripted: Http, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(message: Message) -> str:
        raise RuntimeError(json_of(message))

    monkeypatch.setattr("zart.gateway.calls.json_of", broken)
    failed = await post(http_scripted, RESUME)

    assert (failed.status, failed.reason) == (500, "INTERNAL")
    assert failed.headers["Idempotency-Key"] == scripted.requests[0].request_id


async def test_details_that_only_a_newer_server_knows_are_left_out_of_results(
    scripted: Scripted, http_scripted: Http
) -> None:
    newer = any_pb2.Any(type_url="type.googleapis.com/zart.v2.News", value=b"\x08\x01")
    answer = pb.BatchStartExecutionsResponse()
    for code in (code_pb2.OK, code_pb2.NOT_FOUND):
        error = answer.results.add().error
        error.code, error.message = code, "no"
        error.details.append(newer)
        error.details.add().Pack(error_details_pb2.ErrorInfo(reason="SOME_REASON"))
        error.details.append(newer)
    scripted.answer = lambda _: answer

    told = await post(http_scripted, "/api/v1/executions:batch")

    assert told.status == 200
    for result in told.json["results"]:
        assert result["error"]["message"] == "no"
        assert [detail["reason"] for detail in result["error"]["details"]] == ["SOME_REASON"]
