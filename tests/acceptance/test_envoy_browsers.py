"""Browsers: gRPC-Web through Envoy, from the pages that may."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from http.client import HTTPSConnection
from pathlib import Path

import pytest
from acceptance.edge import Edge, edge
from acceptance.grpc_web import ORIGIN, call
from google.rpc import error_details_pb2, status_pb2
from rig import CHAIN, specs

import zart
from zart.testing.server import ServerUnderTest, serving
from zart.v1 import execution_service_pb2 as pb

EXECUTIONS = "zart.v1.ExecutionService"
INVALID, NOT_FOUND, UNAVAILABLE = "3", "5", "14"


@pytest.fixture
def envoy(zart_server: ServerUnderTest, tmp_path: Path) -> Iterator[Edge]:
    """Envoy in front of one server."""
    with edge(tmp_path, [zart_server.address]) as running:
        yield running


@pytest.fixture
def page(envoy: Edge) -> Iterator[HTTPSConnection]:
    """A page's connection."""
    with contextlib.closing(envoy.https()) as connection:
        yield connection


def reason(status: status_pb2.Status) -> str:
    """Find the reason among the details."""
    info = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in status.details)
    return str(info.reason)


@pytest.mark.parametrize("is_text", [False, True])
def test_a_page_starts_an_execution_and_reads_it(page: HTTPSConnection, *, is_text: bool) -> None:
    start = pb.StartExecutionRequest(
        execution_id="x", task_name="t", payload_json='"' + 9999 * "x" + '"'
    )
    start.steps.add(step_name="a")
    started = call(
        page, f"{EXECUTIONS}/StartExecution", start, pb.StartExecutionResponse, is_text=is_text
    )
    assert [m.execution.execution_id for m in started] == ["x"]
    assert started.ending["grpc-status"] == "0"
    assert started.ended_by_frame

    read = pb.GetExecutionRequest(execution_id="x")
    (found,) = call(
        page, f"{EXECUTIONS}/GetExecution", read, pb.GetExecutionResponse, is_text=is_text
    )
    assert found.run.payload_json == start.payload_json


@pytest.mark.parametrize("is_text", [False, True])
def test_a_page_watches_a_run_message_by_message(
    page: HTTPSConnection, zart_server: ServerUnderTest, *, is_text: bool
) -> None:
    with zart.connect_sync(zart_server.address) as client:
        client.start("t", execution_id="x", steps=specs({"a": ()}))
        watched = call(
            page,
            f"{EXECUTIONS}/WatchExecution",
            pb.WatchExecutionRequest(execution_id="x"),
            pb.WatchExecutionResponse,
            is_text=is_text,
        )
        messages = iter(watched)
        # Each is there before the next one is caused.
        assert [s.step_name for s in next(messages).steps] == ["a"]
        (task,) = client.lease_tasks("d", ["t"])
        assert next(messages).steps[0].lease_owner == "d"
        client.report_tasks("d", [zart.Outcome(task.task_id, task.lease_token, zart.Completed(7))])
        assert [m.run.result_json for m in messages] == ["7"]
    assert watched.ending["grpc-status"] == "0"


def test_a_refusal_reaches_the_page_with_its_details(page: HTTPSConnection) -> None:
    refused = call(
        page,
        f"{EXECUTIONS}/GetExecution",
        pb.GetExecutionRequest(execution_id="nobody"),
        pb.GetExecutionResponse,
    )
    assert list(refused) == []
    assert refused.ending["grpc-status"] == NOT_FOUND
    assert reason(refused.status()) == "EXECUTION_NOT_FOUND"
    # It came as headers, which a page may read only where it is told so.
    assert not refused.ended_by_frame
    exposed = refused.response.headers["access-control-expose-headers"]
    assert {"grpc-status", "grpc-message", "grpc-status-details-bin"} <= {*exposed.split(", ")}
    assert refused.response.headers["access-control-allow-origin"] == ORIGIN


def test_an_error_after_the_first_message_comes_in_the_last_frame(
    zart_database: str, tmp_path: Path
) -> None:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(serving(zart_database))
        with (
            edge(tmp_path, [server.address]) as envoy,
            contextlib.closing(envoy.https()) as page,
            zart.connect_sync(server.address) as client,
        ):
            client.start("t", execution_id="x", steps=specs(CHAIN))
            watched = call(
                page,
                f"{EXECUTIONS}/WatchExecution",
                pb.WatchExecutionRequest(execution_id="x"),
                pb.WatchExecutionResponse,
            )
            messages = iter(watched)
            assert next(messages).run.status
            stack.close()
            assert list(messages) == []
    assert watched.ended_by_frame
    assert watched.ending["grpc-status"] == UNAVAILABLE
    assert reason(watched.status()) == "SHUTTING_DOWN"


def preflight(page: HTTPSConnection, origin: str, path: str) -> dict[str, str]:
    """Ask as a browser does before it lets a page call."""
    page.request(
        "OPTIONS",
        path,
        headers={
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type,x-grpc-web",
        },
    )
    response = page.getresponse()
    response.read()
    return {name.lower(): value for name, value in response.headers.items()}


@pytest.mark.parametrize("path", [f"/{EXECUTIONS}/GetExecution", "/admin/v1/pause"])
def test_pages_of_the_named_origin_may_call_and_no_others(page: HTTPSConnection, path: str) -> None:
    allowed = preflight(page, ORIGIN, path)
    assert allowed["access-control-allow-origin"] == ORIGIN
    assert "POST" in allowed["access-control-allow-methods"]
    names = {*allowed["access-control-allow-headers"].split(", ")}
    assert {"authorization", "content-type", "x-grpc-web", "traceparent"} <= names

    for origin in ("https://elsewhere.example.com", f"{ORIGIN}.evil.example", "null"):
        refused = preflight(page, origin, path)
        assert not [name for name in refused if name.startswith("access-control-")]
