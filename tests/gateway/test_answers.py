"""What comes back: errors as google.rpc.Status, and what a gateway says where no server does."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import grpc
import grpc.aio
import pytest
from gateway.scripted import RESUME, Scripted, post
from gateway.sending import Http, gateway_to
from google.protobuf import any_pb2, duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2
from grpc_status import rpc_status
from rig import CHAIN, Rig
from waiting import eventually, for_ever

from zart.gateway import open_pages
from zart.json_log import JsonFormatter
from zart.testing.server import ServerUnderTest, serving
from zart.v1 import admin_service_pb2 as pb
from zart_server.api.health import Health


def test_the_servers_refusal_is_passed_on_whole(http_: Http) -> None:
    refused = http_.post("/admin/v1/executions/nobody/restart")

    assert refused.status == 404
    assert refused.headers["Content-Type"] == "application/json"
    assert refused.json["code"] == code_pb2.NOT_FOUND
    assert refused.json["message"] == "no execution 'nobody'"
    assert refused.json["details"] == [
        {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "EXECUTION_NOT_FOUND",
            "domain": "zart",
            "metadata": {"execution_id": "nobody"},
        }
    ]
    bad = http_.post("/admin/v1/pause", {"stepPattern": "["})
    assert bad.status == 400
    assert list(bad.fields) == ["step_pattern"]


async def test_states_that_forbid_it_are_400_and_409(rig: Rig, http_: Http) -> None:
    await rig.start("x", CHAIN)
    x = "/admin/v1/executions/x"

    refused = [
        http_.post(f"{x}/retry-step", {"stepName": "a"}),
        http_.post(f"{x}/restart", {"ifRunning": "IF_RUNNING_FAIL"}),
        http_.post(f"{x}/restart", {"expectedRunNumber": 7}),
        http_.post("/api/v1/executions", {"executionId": "x", "taskName": "t", "steps": [{"stepName": "a"}]}),
        http_.post("/api/v1/executions:batch", {"requests": [{}] * 1001}),
    ]  # fmt: skip

    assert [(r.status, r.reason) for r in refused] == [
        (400, "STEP_NOT_DEAD"),
        (400, "RUN_ACTIVE"),
        (409, "RUN_CHANGED"),
        (409, "EXECUTION_EXISTS"),
        (413, "TOO_MANY_ITEMS"),
    ]


CODES = [
    (grpc.StatusCode.CANCELLED, 499),
    (grpc.StatusCode.UNKNOWN, 500),
    (grpc.StatusCode.INVALID_ARGUMENT, 400),
    (grpc.StatusCode.DEADLINE_EXCEEDED, 504),
    (grpc.StatusCode.NOT_FOUND, 404),
    (grpc.StatusCode.ALREADY_EXISTS, 409),
    (grpc.StatusCode.PERMISSION_DENIED, 403),
    (grpc.StatusCode.UNAUTHENTICATED, 401),
    (grpc.StatusCode.RESOURCE_EXHAUSTED, 429),
    (grpc.StatusCode.FAILED_PRECONDITION, 400),
    (grpc.StatusCode.ABORTED, 409),
    (grpc.StatusCode.OUT_OF_RANGE, 400),
    (grpc.StatusCode.UNIMPLEMENTED, 501),
    (grpc.StatusCode.INTERNAL, 500),
    (grpc.StatusCode.DATA_LOSS, 500),
]


@pytest.mark.parametrize(("code", "http"), CODES)
async def test_each_code_has_its_status(
    scripted: Scripted, http_scripted: Http, code: grpc.StatusCode, http: int
) -> None:
    info = error_details_pb2.ErrorInfo(reason="SOME_REASON", domain="zart")
    scripted.answer = lambda context: context.abort_with_status(
        rpc_status.to_status(told(code, info))
    )

    refused = await post(http_scripted, RESUME)

    assert (refused.status, refused.json["code"]) == (http, code.value[0])
    assert (refused.json["message"], refused.reason) == ("no", "SOME_REASON")
    assert ("WWW-Authenticate" in refused.headers) is (http == 401)


def told(code: grpc.StatusCode, *details: Any) -> status_pb2.Status:
    """Make a status."""
    status = status_pb2.Status(code=code.value[0], message="no")
    for detail in details:
        status.details.add().Pack(detail)
    return status


async def test_a_bare_code_is_told_in_words(scripted: Scripted, http_scripted: Http) -> None:
    scripted.answer = lambda context: context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "")

    refused = await post(http_scripted, RESUME)

    assert (refused.status, refused.json["code"]) == (429, code_pb2.RESOURCE_EXHAUSTED)
    assert "RESOURCE_EXHAUSTED" in refused.json["message"]


async def test_when_to_repeat_is_a_header(scripted: Scripted, http_scripted: Http) -> None:
    retry = error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(nanos=1_500_000))
    scripted.answer = lambda context: context.abort_with_status(
        rpc_status.to_status(told(grpc.StatusCode.ABORTED, retry))
    )

    assert (await post(http_scripted, RESUME)).headers["Retry-After"] == "1"


async def test_a_detail_that_only_a_newer_server_knows_is_left_out(
    scripted: Scripted, http_scripted: Http
) -> None:
    newer = any_pb2.Any(type_url="type.googleapis.com/zart.v2.News", value=b"\x08\x01")
    status = told(grpc.StatusCode.NOT_FOUND, error_details_pb2.ErrorInfo(domain="zart"))
    status.details.append(newer)
    scripted.answer = lambda context: context.abort_with_status(rpc_status.to_status(status))

    refused = await post(http_scripted, RESUME)

    assert refused.status == 404
    assert len(refused.json["details"]) == 1


async def test_no_server_is_a_503_that_says_when_to_repeat_and_with_which_key() -> None:
    with gateway_to("127.0.0.1:1") as http_:
        mutated = await post(http_, "/admin/v1/executions/x/restart")
        watched = await asyncio.to_thread(http_.get, "/api/v1/executions/x/watch")
        ready = await asyncio.to_thread(http_.get, "/readyz")
        alive = await asyncio.to_thread(http_.get, "/healthz")

    for answer in (mutated, watched, ready):
        assert (answer.status, answer.json["code"]) == (503, code_pb2.UNAVAILABLE)
        assert answer.headers["Retry-After"] == "1"
        assert "127.0.0.1" not in answer.text
    assert len(mutated.headers["Idempotency-Key"]) == 32
    assert (alive.status, alive.json) == (200, {"status": "SERVING"})


async def test_a_server_that_does_not_answer_in_time_is_a_504(
    scripted: Scripted,
) -> None:
    scripted.answer = lambda _: for_ever()

    with gateway_to(scripted.address, timeout=2.0) as http_:
        late = await post(http_, RESUME)

    assert (late.status, late.json["code"]) == (504, code_pb2.DEADLINE_EXCEEDED)
    assert scripted.deadlines[0] is not None
    assert scripted.deadlines[0] < 3  # 2 s, which the wire's units round up; not the usual 30


async def test_more_calls_than_may_be_under_way_are_503(
    scripted: Scripted, http_scripted: Http
) -> None:
    held, let_go = asyncio.Event(), asyncio.Event()

    async def hold() -> pb.ResumeResponse:
        if len(scripted.requests) == 2:
            held.set()
        await let_go.wait()
        return pb.ResumeResponse()

    scripted.answer = lambda _: hold()
    first = [asyncio.create_task(post(http_scripted, RESUME)) for _ in range(2)]
    await held.wait()
    refused = await post(http_scripted, RESUME)
    let_go.set()

    assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
    assert [answer.status for answer in await asyncio.gather(*first)] == [200, 200]
    assert (await post(http_scripted, RESUME)).status == 200


def test_other_paths_and_methods(http_: Http) -> None:
    missing = http_.get("/admin/v1/nothing")
    wrong = http_.send("DELETE", "/admin/v1/pause")
    slash = http_.get("/admin/v1/pause/")
    posted = http_.post("/healthz")

    assert (missing.status, missing.json["code"]) == (404, code_pb2.NOT_FOUND)
    assert (slash.status, slash.reason) == (404, "UNKNOWN_METHOD")
    assert (wrong.status, wrong.json["code"]) == (405, code_pb2.UNIMPLEMENTED)
    assert set(wrong.headers["Allow"].split(", ")) == {"GET", "POST"}
    assert (posted.status, posted.reason) == (405, "UNKNOWN_METHOD")


async def test_ready_is_what_the_server_says(
    zart_server: ServerUnderTest, rig: Rig, http_: Http
) -> None:
    assert http_.get("/readyz").json == {"status": "SERVING"}

    zart_server.loop.call_soon_threadsafe(zart_server.running.health.leave)

    async def is_told() -> bool:
        return (await asyncio.to_thread(http_.get, "/readyz")).status != 200

    await eventually(is_told)
    unready = http_.get("/readyz")
    assert (unready.status, unready.json["code"]) == (503, code_pb2.UNAVAILABLE)


async def test_it_is_ready_while_one_of_its_servers_serves(
    zart_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A drain of one made all gateways unready at once: who sends requests to them had none."""
    monkeypatch.setattr(open_pages, "_SHARED_FOR", 0.0)
    told: list[tuple[Health, int]] = []
    check = Health.Check

    async def noted(health: Health, request: Any, context: Any) -> Any:
        answer = await check(health, request, context)
        told.append((health, answer.status))
        return answer

    monkeypatch.setattr(Health, "Check", noted)
    with contextlib.ExitStack() as stack:
        one, other = (stack.enter_context(serving(zart_database)) for _ in range(2))
        http_ = stack.enter_context(gateway_to(f"ipv4:{one.address},{other.address}"))

        async def status() -> int:
            return (await asyncio.to_thread(http_.get, "/readyz")).status

        async def both_are_asked() -> bool:
            return await status() == 200 and len({health for health, _ in told}) == 2

        await eventually(both_are_asked)
        one.loop.call_soon_threadsafe(one.running.health.leave)
        not_serving = (one.running.health, health_pb2.HealthCheckResponse.NOT_SERVING)

        async def is_refused() -> bool:
            assert await status() == 200
            return not_serving in told

        await eventually(is_refused)
        other.loop.call_soon_threadsafe(other.running.health.leave)

        async def is_told() -> bool:
            return await status() == 503

        await eventually(is_told)


def test_a_defect_is_a_500_with_an_id_and_nothing_else(
    http_: Http, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr("zart.gateway.endpoint.check_origin", broken)
    monkeypatch.setattr(caplog.handler, "formatter", JsonFormatter(tracebacks=False))

    failed = http_.get("/admin/v1/pause")

    assert (failed.status, failed.reason) == (500, "INTERNAL")
    assert "secret" not in failed.text
    assert failed.json["details"][0]["metadata"]["error_id"] in caplog.text
    assert "RuntimeError" in caplog.text
    assert "secret" not in caplog.text
