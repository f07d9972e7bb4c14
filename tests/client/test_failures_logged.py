"""One line for each failed attempt: which, of what kind, and where; never what the error says."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from dispatching import dispatching, start
from rig import QUICK, Rig
from tracing import traced
from waiting import GIVE_UP, eventually, for_ever

import zart
from zart.cli.main import main
from zart.testing.server import ServerUnderTest

TASK = """
import zart
order = zart.Task("order")

def deeper(ctx):
    return json_of(ctx)

def json_of(ctx):
    import json
    return json.loads("{" + ctx.execution_id)  # raised in a library

@order.step(retry=zart.Retry(max_attempts=2, initial_backoff=0.0))
def charge_card(ctx: zart.StepContext) -> str:
    ctx.logger.info("my own words")
    return deeper(ctx)
"""


@contextlib.contextmanager
def running(folder: Path, environment: dict[str, str]) -> Iterator[None]:
    """Run a dispatcher as a process until the context is left."""
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "zart.cli", "dispatch", "orders"],
            env=environment, cwd=folder, stderr=log,
        )  # fmt: skip
    try:
        yield
    finally:
        process.terminate()
        process.wait(GIVE_UP)


async def test_each_failed_attempt_is_one_line(
    rig: Rig, zart_server: ServerUnderTest, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "zart.dispatcher.failures")
    task = zart.Task("t")

    @task.step(retry=QUICK)
    async def flaky(ctx: zart.StepContext) -> int:
        if ctx.attempt == 1:
            raise ValueError("a secret")
        if ctx.attempt == 2:
            raise zart.StepFailed("a secret")
        return 1

    @task.step(depends_on=[flaky])
    async def odd(ctx: zart.StepContext) -> object:
        return {1}

    @task.step(depends_on=[flaky], timeout=0.1, retry=zart.Retry(max_attempts=1))
    def slow(ctx: zart.StepContext) -> None:
        while not ctx.cancelled:
            pass

    async with dispatching(zart_server, task):
        await (await start(rig, task)).run(timeout=GIVE_UP)
    told = [record for record in caplog.records if record.name == "zart.dispatcher.failures"]
    lines = sorted(record.getMessage() for record in told)
    here = f"({__file__}:{{}} in flaky)"
    first = flaky.function.__code__.co_firstlineno + 3
    assert lines == [
        f"x:run:0/flaky, attempt 1, failed: ValueError {here.format(first)}",
        f"x:run:0/flaky, attempt 2, failed: StepFailed {here.format(first + 2)}",
        "x:run:0/odd, attempt 1, failed for good: ResultNotJson",
        "x:run:0/slow, attempt 1, timed out after 0.1 s",
    ]


async def test_an_attempt_that_a_stopping_dispatcher_loses_is_one_line(
    rig: Rig, zart_server: ServerUnderTest, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "zart.dispatcher.failures")
    task = zart.Task("t")
    begun = asyncio.Event()

    @task.step()
    async def endless(ctx: zart.StepContext) -> None:
        begun.set()
        await for_ever()

    async with dispatching(zart_server, task, grace=0.1) as stop:
        with traced(7) as (trace_id, _):  # which the dispatcher is not within
            await start(rig, task)
        await asyncio.wait_for(begun.wait(), GIVE_UP)
        stop.set()
    (told,) = [record for record in caplog.records if record.name == "zart.dispatcher.failures"]
    said = "lost: the dispatcher stops, and it has not ended in time"
    assert told.getMessage() == f"x:run:0/endless, attempt 1, {said}"
    fields = {"execution_id": "x", "step_name": "endless", "attempt": 1, "trace_id": trace_id}
    assert fields.items() <= vars(told).items()


@pytest.mark.parametrize("style", ["json", "console"])
async def test_a_dispatcher_logs_in_the_shape_that_the_environment_asks_for(
    rig: Rig, zart_server: ServerUnderTest, tmp_path: Path, style: str
) -> None:
    (tmp_path / "orders.py").write_text(TASK)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("ZART_")},
        "ZART_ADDRESS": zart_server.address,
        "ZART_LOG_FORMAT": style,
    }
    with running(tmp_path, environment):

        async def registered() -> bool:
            return bool(await rig.client.list_task_definitions())

        await eventually(registered)
        await (await rig.client.start("order", execution_id="x")).run(timeout=GIVE_UP)
    lines = (tmp_path / "log").read_text().splitlines()
    told = [line for line in lines if "failed: JSONDecodeError" in line]
    assert len(told) == 2
    assert all("orders.py:10 in json_of)" in line for line in told)
    if style == "console":
        assert "{" not in told[0]
        return
    records = [json.loads(line) for line in lines]
    (failure, *_) = [r for r in records if "JSONDecodeError" in r["event"]]
    assert failure["level"] == "warning"
    assert (failure["execution_id"], failure["step_name"], failure["attempt"]) == (
        "x",
        "charge-card",
        1,
    )
    (own, *_) = [r for r in records if r["event"] == "my own words"]
    assert (own["logger"], own["execution_id"]) == ("zart.step", "x")


@pytest.mark.parametrize("command", ["serve", "gateway", "dispatch json", "dev"])
@pytest.mark.parametrize("name", ["ZART_LOG_FORMAT", "ZART_LOG_LEVEL"])
def test_what_the_environment_cannot_mean_is_a_usage_error(
    command: str,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("ZART_DATABASE_URL", "postgresql://nowhere/d")
    monkeypatch.setenv(name, "loud")

    assert main(command.split()) == 2
    assert f"{name}: 'loud' is none of" in capsys.readouterr().err
