"""A body of many objects, or a query of many parameters, is read aside, however small it is."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable

from gateway.sending import Answer, Http
from waiting import GIVE_UP, until

from zart.gateway import aside


async def test_many_steps_of_few_bytes_are_read_aside(http_: Http) -> None:
    body = json.dumps({"taskName": "t", "steps": [{"stepName": str(n)} for n in range(2000)]})
    assert len(body) < aside._LARGE
    await is_read_aside(http_, lambda: http_.post("/api/v1/executions", body), 200)


async def test_many_parameters_are_read_aside(http_: Http) -> None:
    query = "&".join(["statuses=1"] * 1200)
    await is_read_aside(http_, lambda: http_.get(f"/api/v1/executions?{query}"), 413)


async def is_read_aside(http_: Http, ask: Callable[[], Answer], status: int) -> None:
    """Ask while the thread has something else to do: others are served, this one waits."""
    go_on = threading.Event()
    try:
        aside._thread.submit(go_on.wait, GIVE_UP)
        await until(lambda: not aside._thread._work_queue.qsize())  # it has begun
        call = asyncio.create_task(asyncio.to_thread(ask))
        await until(lambda: call.done() or aside._thread._work_queue.qsize())
        assert not call.done()
        assert http_.post("/api/v1/executions", {"taskName": "none"}).status == 404
    finally:
        go_on.set()
    assert (await call).status == status
