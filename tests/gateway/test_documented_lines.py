"""The curl lines of the documents, run by the real curl against work as ``make run`` has it."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from gateway.sending import Http
from gateway.test_table import TABLE
from rig import eventually
from waiting import GIVE_UP

import zart
from examples.order import CARD_DOWN, order
from zart.testing.server import ServerUnderTest

ROOT = Path(__file__).parents[2]
FIRST_DAY = """
curl -X POST http://localhost:8080/admin/v1/executions/exec-001/retry-step -H "Content-Type: application/json" -d '{"stepName": "charge-card", "triggeredBy": "ops-team"}'
curl -X POST http://localhost:8080/admin/v1/pause -H "Content-Type: application/json" -d '{"taskName": "brewery-finder", "stepPattern": "find-breweries"}'
"""
RULE = "pr-7k2m9x4q"  # what docs/http.md has for an id
PAY = zart.StepSpec("pay", if_in_doubt=zart.IfInDoubt.STOP)
BREAKER = "br-7k2m9x4q"  # likewise
BATCH = "ba-7k2m9x4q"  # likewise


def curl_lines(document: str) -> list[str]:
    """Find the lines of a document that call curl."""
    text = (ROOT / document).read_text()
    return [line for line in text.splitlines() if line.startswith("curl ")]


@pytest.fixture
async def orders(
    client: zart.Client,
    zart_server: ServerUnderTest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[None]:
    """Orders that died at charge-card, and a dispatcher, with the card service still down."""
    monkeypatch.chdir(tmp_path)
    CARD_DOWN.parent.mkdir()
    CARD_DOWN.touch()
    stop = asyncio.Event()
    dispatcher = zart.Dispatcher([order], address=zart_server.address, grace=0.1)
    working = asyncio.create_task(dispatcher.run(stop))

    async def registered() -> bool:
        return bool(await client.list_task_definitions())

    await eventually(registered)
    for number in range(1, 5):
        await client.start(order, {"user": number, "amount": 20}, execution_id=f"exec-00{number}")
    for number in range(1, 5):
        await client.handle(f"exec-00{number}").run()
    await client.start("payment", execution_id="payment-7", steps=[PAY])
    await in_doubt(client)
    yield
    stop.set()
    await working


async def in_doubt(client: zart.Client) -> None:
    """Lose the attempt of a step that must not run twice."""
    (task,) = await client.lease_tasks("d", ["payment"])
    await client.report_tasks("d", [zart.Outcome(task.task_id, task.lease_token, zart.Lost())])


async def run(http_: Http, line: str) -> list[Any]:
    """Run a line, as it stands but for the port; gives its answer, or a watch's lines."""
    line = line.replace("http://localhost:8080", f"http://{http_.address}")
    done = await asyncio.to_thread(
        subprocess.run,
        ["bash", "-c", line.replace("curl ", "curl --fail-with-body --silent --show-error ", 1)],
        capture_output=True, text=True, check=False, timeout=GIVE_UP,
    )  # fmt: skip
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return [json.loads(text) for text in done.stdout.splitlines()]


@pytest.mark.usefixtures("orders")
@pytest.mark.parametrize("document", ["docs/http.md", "README.md"])
async def test_each_line_works(http_: Http, document: str) -> None:
    rule, breaker, batch = RULE, BREAKER, BATCH
    for text in curl_lines(document):
        line = text.replace(RULE, rule).replace(BREAKER, breaker).replace(BATCH, batch)
        answers = await run(http_, line)
        if "/batches " in line and "validateOnly" not in line:
            batch = answers[0]["batch"]["batchId"]
        if "/breakers " in line:
            breaker = answers[0]["breaker"]["breakerId"]
        if "charge-*" in line and "-X POST" in line:
            rule = answers[0]["rule"]["ruleId"]
        if line.endswith("exec-004/watch"):
            assert answers[-1]["run"]["status"] == "RUN_STATUS_FAILED"
        if "/executions:run " in line:
            assert answers[-1]["state"]["run"]["status"] == "RUN_STATUS_FAILED"


def test_every_row_of_the_table_has_a_line() -> None:
    called = set()
    for line in curl_lines("docs/http.md"):
        method = (re.findall(r"-X (\w+)", line) or ["GET"])[0]
        path = re.search(r"http://localhost:8080(/[^\s\"?]*)", line)
        assert path is not None, line
        called |= {
            row for row in TABLE
            if row[0] == method and re.fullmatch(re.sub(r"\{\w+\}", r"[^/]+", row[1]), path[1])
        }  # fmt: skip

    assert called == set(TABLE)


def test_the_lines_of_the_first_day_are_there() -> None:
    lines = curl_lines("docs/http.md")

    assert set(FIRST_DAY.strip().splitlines()) <= set(lines)
