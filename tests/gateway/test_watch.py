"""A watch over HTTP: a message a line, and an end that says why."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from gateway.sending import Http, gateway_to
from rig import CHAIN, Rig, eventually, specs
from waiting import GIVE_UP

from zart.testing.server import ServerUnderTest, serving

RUN = "/api/v1/executions:run"


@contextmanager
def watching(
    http_: Http, path: str, body: Any = None, **headers: str
) -> Iterator[http.client.HTTPResponse]:
    """Open a watch, or start what is watched: then with a body."""
    connection = http.client.HTTPConnection(http_.address, timeout=GIVE_UP)
    if body is None:
        connection.request("GET", path)
    else:
        sent = {"Content-Type": "application/json", **headers}
        connection.request("POST", path, json.dumps(body), sent)
    yield connection.getresponse()
    connection.close()


async def line_of(response: http.client.HTTPResponse) -> Any:
    """Read one line; None at the end."""
    text = await asyncio.to_thread(response.readline)
    return json.loads(text) if text else None


async def test_proxies_are_asked_to_pass_its_lines_on_as_they_come(rig: Rig, http_: Http) -> None:
    await rig.start("x", CHAIN)
    body = {"start": {"taskName": "t", "executionId": "y", "steps": [{"stepName": "a"}]}}
    for path, asked in (("/api/v1/executions/x/watch", None), (RUN, body)):
        with watching(http_, path, asked) as response:
            assert response.headers["X-Accel-Buffering"] == "no"
            assert response.headers["Cache-Control"] == "no-store"


async def test_it_streams_until_the_run_ends(rig: Rig, http_: Http) -> None:
    await rig.start("x", CHAIN)
    with watching(http_, "/api/v1/executions/x/watch") as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "application/x-ndjson"
        whole = await line_of(response)
        assert [step["stepName"] for step in whole["steps"]] == ["a", "b", "c"]
        await rig.work()
        lines = []
        while (line := await line_of(response)) is not None:
            lines.append(line)
    assert lines[-1]["run"]["status"] == "RUN_STATUS_COMPLETED"


async def test_a_run_is_started_once_and_streamed_until_it_ends(rig: Rig, http_: Http) -> None:
    await rig.client.register_task("t", specs(CHAIN))
    body, key = {"start": {"taskName": "t"}}, {"Idempotency-Key": "once"}
    with watching(http_, RUN, body, **key) as response:
        assert (response.status, response.headers["Idempotency-Key"]) == (200, "once")
        assert response.headers["Content-Type"] == "application/x-ndjson"
        started = (await line_of(response))["started"]
        assert (await line_of(response))["state"]["run"]["status"] == "RUN_STATUS_SCHEDULED"
        with watching(http_, RUN, body, **key) as repeated:
            again = (await line_of(repeated))["started"]
            assert (again["execution"], again["replayed"]) == (started["execution"], True)
        await rig.work()
        lines = []
        while (line := await line_of(response)) is not None:
            lines.append(line)
    assert lines[-1]["state"]["run"]["status"] == "RUN_STATUS_COMPLETED"
    assert await rig.db.fetchval("SELECT count(*) FROM zart_executions") == 1


def test_a_run_that_cannot_start_is_a_status_and_tells_the_key_made_for_it(http_: Http) -> None:
    refused = http_.post(RUN, {"start": {"taskName": "nosuch"}})
    assert (refused.status, refused.reason) == (404, "TASK_DEFINITION_NOT_FOUND")
    assert len(refused.headers["Idempotency-Key"]) == 32
    refused = http_.post(RUN, {"start": {"requestId": "a"}}, **{"Idempotency-Key": "b"})
    assert list(refused.fields) == ["start.request_id"]


def test_what_is_refused_before_the_first_line_is_a_status(http_: Http) -> None:
    refused = http_.get("/api/v1/executions/nobody/watch")

    assert (refused.status, refused.reason) == (404, "EXECUTION_NOT_FOUND")


async def test_an_error_in_the_middle_is_the_last_line(zart_database: str) -> None:
    with serving(zart_database) as server, gateway_to(server.address) as http_:
        made = {"taskName": "t", "executionId": "x", "steps": [{"stepName": "a"}]}
        assert (await asyncio.to_thread(http_.post, "/api/v1/executions", made)).status == 200
        with watching(http_, "/api/v1/executions/x/watch") as response:
            await line_of(response)
            reading = asyncio.create_task(line_of(response))
            await asyncio.to_thread(stop, server)
            last = await reading
            assert await line_of(response) is None
    assert last["error"]["code"] == grpc.StatusCode.UNAVAILABLE.value[0]
    assert last["error"]["details"][0]["reason"] == "SHUTTING_DOWN"


def stop(server: ServerUnderTest) -> None:
    """Begin to drain a server."""
    server.loop.call_soon_threadsafe(server.running.runtime.drain)


async def test_a_gateway_that_stops_ends_its_watches_at_once(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    await rig.start("x", CHAIN)
    async with asyncio.timeout(GIVE_UP):
        with gateway_to(zart_server.address) as http_:
            connection = http.client.HTTPConnection(http_.address, timeout=GIVE_UP)
            connection.request("GET", "/api/v1/executions/x/watch")
            response = connection.getresponse()
            await line_of(response)
        last = await line_of(response)
        assert await line_of(response) is None
        connection.close()
    assert last["error"]["details"][0]["reason"] == "SHUTTING_DOWN"


async def test_a_caller_that_goes_away_ends_the_watch_in_the_server(
    rig: Rig, zart_server: ServerUnderTest, http_: Http
) -> None:
    await rig.start("x", CHAIN)
    watches = zart_server.running.runtime.watches
    with watching(http_, "/api/v1/executions/x/watch") as response:
        await line_of(response)
        assert watches._followed

    async def gone() -> bool:
        return not watches._followed

    await eventually(gone)
