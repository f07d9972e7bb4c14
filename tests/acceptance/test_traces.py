"""One trace from the caller to the handler, across the queue; what else belongs to it is linked."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ports import free_port
from tracing import Spans, context_of, ids, links_of, parent_of, printed
from waiting import GIVE_UP, eventually

import zart
from zart import errors
from zart.tracing import trace_as_the_environment_says, tracer

CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"  # the page's
OPERATOR = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
START = "zart.v1.ExecutionService/RunExecution"  # and wait
WATCH = "zart.v1.ExecutionService/WatchExecution"
RESTART = "zart.v1.AdminService/Restart"
TASKS = """
import zart

order = zart.Task("order")

@order.step(retry=zart.Retry(max_attempts=2, initial_backoff=0.0))
async def charge(ctx: zart.StepContext) -> str:
    ctx.logger.info("my own words")
    if ctx.attempt == 1:
        raise ValueError("a secret")
    return "charged"

@order.step(depends_on=[charge])
def ship(ctx: zart.StepContext) -> str:
    ctx.logger.info("from a thread")
    return "shipped"
"""


PAGE = Path(__file__).parents[2] / "docs/tracing.md"
(SERVE, DISPATCH, START_X, STATUS_X), (GATEWAY, START_Y) = (
    block.splitlines() for block in re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
)
HTTP = "127.0.0.1:8080"  # of the page


class Traced:
    """What the page runs: server, dispatcher, gateway. They print spans, each into its own file."""

    def __init__(self, database: str, folder: Path) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self.http = f"127.0.0.1:{free_port()}"
        self._folder = folder
        self._environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("ZART_", "OTEL_"))},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
            "ZART_ADDRESS": self.address,
            "ZART_DATABASE_URL": database,
            "ZART_GATEWAY_LISTEN": self.http,
            "ZART_LISTEN": self.address,
        }
        (folder / "orders.py").write_text(TASKS)
        lines = {"server": SERVE, "dispatcher": DISPATCH, "gateway": GATEWAY}
        self._processes = [self._begin(name, line) for name, line in lines.items()]

    def _begin(self, name: str, line: str) -> subprocess.Popen[bytes]:
        with (
            (self._folder / f"{name}.log").open("wb") as log,
            (self._folder / f"{name}.spans").open("wb") as out,
        ):
            return subprocess.Popen(
                ["env", *shlex.split(line)],
                env=self._environment, cwd=self._folder, stdout=out, stderr=log,
            )  # fmt: skip

    async def run(self, line: str, **environment: str) -> str:
        """Run a command and return what it prints."""
        process = await asyncio.create_subprocess_exec(
            "env", *shlex.split(line.replace(HTTP, self.http)),
            env={**self._environment, **environment}, cwd=self._folder,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        printed, _ = await process.communicate()
        assert process.returncode == 0, printed
        return printed.decode()

    def stop(self) -> None:
        for process in reversed(self._processes):
            process.terminate()
            process.wait(GIVE_UP)

    @property
    def spans(self) -> Spans:
        return printed(*self._folder.glob("*.spans"))

    def lines(self, of: str) -> list[dict[str, object]]:
        return [json.loads(line) for line in (self._folder / f"{of}.log").read_text().splitlines()]


@pytest.fixture
def traced(zart_database: str, tmp_path: Path) -> Iterator[Traced]:
    found = Traced(zart_database, tmp_path)
    try:
        yield found
    finally:
        found.stop()


async def test_an_execution_is_one_trace_from_its_caller_to_its_handlers(traced: Traced) -> None:
    async with zart.connect(traced.address) as client:

        async def registered() -> bool:
            try:
                return bool(await client.list_task_definitions())
            except zart.ZartError:  # the server is about to listen
                return False

        await eventually(registered)
        await traced.run(START_X)
        status = await traced.run(STATUS_X)
        await traced.run("zart restart x --yes", TRACEPARENT=OPERATOR)
        await client.handle("x").run(timeout=GIVE_UP)
        with pytest.raises(errors.ExecutionNotFound):
            await client.get_execution("nobody")
        await traced.run(START_Y)
        await client.handle("y").run(timeout=GIVE_UP)
        await traced.run(f"curl -s http://{HTTP}/api/v1/executions/nobody")
        await client.start("order", execution_id="untraced")
        await client.handle("untraced").run(timeout=GIVE_UP)
        untraced = await client.get_execution("untraced")
    traced.stop()
    spans = traced.spans

    trace = CALLER.split("-")[1]
    (start,) = [span for span in spans.of(START) if parent_of(span) == ids(CALLER)]
    assert (start["kind"], start["status"]["status_code"]) == ("SpanKind.SERVER", "UNSET")
    attempts = [
        (span["attributes"]["zart.run_number"], span["attributes"]["zart.attempt"], span)
        for span in spans.of("order/charge", zart__execution_id="x")
    ]
    assert [(run, attempt) for run, attempt, _ in attempts] == [(0, 1), (0, 2), (1, 1), (1, 2)]
    for _, attempt, span in attempts:
        assert parent_of(span) == context_of(start)
        assert span["kind"] == "SpanKind.CONSUMER"
        assert span["attributes"]["zart.outcome"] == ("failed" if attempt == 1 else "completed")
        assert span["status"]["status_code"] == ("ERROR" if attempt == 1 else "UNSET")
    first, second = attempts[0][2], attempts[1][2]
    assert first["attributes"]["error.type"] == "ValueError"
    assert links_of(second) == [context_of(first)]
    failed = spans.of("handle charge", error__type="ValueError")
    assert {span["status"]["status_code"] for span in failed} == {"ERROR"}
    assert {context_of(first), context_of(attempts[2][2])} <= {parent_of(span) for span in failed}
    handlers = {parent_of(span) for span in spans.of("handle ship")}
    assert {context_of(span) for span in spans.of("order/ship")} == handlers
    assert "secret" not in str(spans.all)

    check_requests_over_http(traced, spans)

    (restart,) = spans.of(RESTART)
    assert parent_of(restart) == ids(OPERATOR)
    assert links_of(restart) == [context_of(start)]
    assert {span["attributes"]["rpc.grpc.status_code"] for span in spans.of(WATCH)} == {0}

    assert f"trace     {trace}" in status
    assert untraced.run.trace_id == ""
    (line,) = [line for line in traced.lines("server") if line.get("execution_id") == "x"
               and str(line.get("method")).endswith("/RunExecution")]  # fmt: skip
    assert (line["trace_id"], line["span_id"]) == (trace, context_of(start)[1][2:])
    told = [line for line in traced.lines("dispatcher") if line.get("execution_id") == "x"]
    assert {line["trace_id"] for line in told} == {trace}
    assert {"my own words", "from a thread"} < {line["event"] for line in told}
    assert any("failed: ValueError" in str(line["event"]) for line in told)


def check_requests_over_http(traced: Traced, spans: Spans) -> None:
    """Check that a start by HTTP is within its caller's trace, and that a refusal is no error."""
    (request,) = spans.of("POST /api/v1/executions", http__response__status_code=200)
    assert (parent_of(request), request["kind"]) == (ids(CALLER), "SpanKind.SERVER")
    (started,) = [
        span
        for span in spans.of("zart.v1.ExecutionService/StartExecution")
        if parent_of(span) == context_of(request)
    ]
    of_y = spans.of("order/charge", zart__execution_id="y")
    assert [parent_of(span) for span in of_y] == [context_of(started)] * 2
    lines = [line for line in traced.lines("gateway") if line.get("status") == "200"]
    assert [line["trace_id"] for line in lines] == [CALLER.split("-")[1]]

    (missing,) = spans.of("GET /api/v1/executions/{execution_id}", http__response__status_code=404)
    refused = spans.of("zart.v1.ExecutionService/GetExecution", zart__reason="EXECUTION_NOT_FOUND")
    assert [parent_of(span) for span in refused if span["parent_id"]] == [context_of(missing)]
    assert [span["attributes"]["rpc.grpc.status_code"] for span in refused] == [5, 5]
    assert {span["status"]["status_code"] for span in (missing, *refused)} == {"UNSET"}


def test_an_exporter_that_nobody_has_is_told_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "carrier-pigeon")
    with pytest.raises(ValueError, match=r"OTEL_.*carrier-pigeon"):
        trace_as_the_environment_says("zart-server")
    assert tracer() is None
