"""A request of many parts is read aside, however small it is; and of too many not at all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from gateway.holding_up import held_up
from gateway.scripted import Scripted, post
from gateway.sending import Answer, Http
from waiting import until

from zart.gateway import aside

START = "/api/v1/executions"


async def test_many_steps_of_few_bytes_are_read_aside(http_: Http) -> None:
    body = json.dumps({"taskName": "t", "steps": [{"stepName": str(n)} for n in range(2000)]})
    assert len(body) < aside.LARGE
    await is_read_aside(http_, lambda: http_.post("/api/v1/executions", body), 200)


async def test_many_parameters_are_read_aside(http_: Http) -> None:
    query = "&".join(["statuses=1"] * 1200)
    await is_read_aside(http_, lambda: http_.get(f"/api/v1/executions?{query}"), 413)


@pytest.mark.parametrize("value", [1, "", None, []], ids=repr)
async def test_so_are_many_values_of_a_payload(http_: Http, value: object) -> None:
    body = json.dumps({"taskName": "none", "payload": [value] * 2000})
    assert len(body) < aside.LARGE
    await is_read_aside(http_, lambda: http_.post(START, body), 404)


STEP = {"stepName": "a"}
TOO_MANY: dict[str, dict[str, Any]] = {
    "numbers": {"payload": [1] * 550_000},
    "lists": {"payload": [[]] * 550_000},
    "members": {"payload": {str(n): None for n in range(270_000)}},
    "lists in lists": {"payload": [[1] * 1_000] * 550},
    "of requests together": {"requests": [{"payload": [1] * 300_000}] * 2},
    "steps": {"steps": [{}] * 101_000},
    "policies of steps": {"steps": [{**STEP, "retryPolicy": {}}] * 51_000},
    "objects": {"payload": [{}] * 410_000},
    "steps that are none": {"steps": [1] * 101_000},
    "names": {"steps": [{**STEP, "dependsOn": ["a"] * 401_000}]},
    "names where one belongs": {"taskName": ["a"] * 401_000},
}


@pytest.mark.parametrize("kind", TOO_MANY)
async def test_too_many_parts_are_refused_before_they_are_made_a_message(
    scripted: Scripted, http_scripted: Http, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    made = []
    monkeypatch.setattr(
        "zart.gateway.strict_json.json_format.ParseDict", lambda *_: made.append(kind)
    )
    path = f"{START}:batch" if "requests" in TOO_MANY[kind] else START
    refused = await post(http_scripted, path, TOO_MANY[kind])

    assert (refused.status, refused.reason) == (413, "TOO_MANY_ITEMS")
    assert list(refused.fields) == ["request"]
    assert (made, scripted.requests) == ([], [])


@pytest.mark.parametrize("value", [1, 0.5, {}], ids=repr)
async def test_far_too_many_are_not_even_read(
    http_scripted: Http, monkeypatch: pytest.MonkeyPatch, value: object
) -> None:
    seen = []
    monkeypatch.setattr("zart.gateway.incoming.fill", lambda *_: seen.append(value))
    refused = await post(http_scripted, START, {"payload": [value] * 1_700_000})
    assert (refused.status, refused.reason, seen) == (413, "TOO_MANY_ITEMS", [])


def test_what_a_text_holds_are_no_parts(http_: Http) -> None:
    text = json.dumps([1] * 300_000, separators=(",", ":"))
    start = {"taskName": "t", "steps": [STEP], "payloadJson": text}
    answer = http_.post("/api/v1/executions:batch", {"requests": [start, start]})
    assert [each["execution"]["taskName"] for each in answer.json["results"]] == ["t", "t"]


def test_half_a_million_values_are_taken(http_: Http) -> None:
    body = {"taskName": "t", "steps": [STEP], "payload": [1] * 500_000}
    assert http_.post(START, body).status == 200


async def is_read_aside(http_: Http, ask: Callable[[], Answer], status: int) -> None:
    """Ask while the thread has something else to do: others are served, this one waits."""
    async with held_up(aside.REQUESTS) as waiting:
        call = asyncio.create_task(asyncio.to_thread(ask))
        await until(lambda: call.done() or waiting())
        assert not call.done()
        assert http_.post("/api/v1/executions", {"taskName": "none"}).status == 404
    assert (await call).status == status
