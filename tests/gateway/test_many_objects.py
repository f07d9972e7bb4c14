"""A body of many objects is read aside, however few bytes it has."""

from __future__ import annotations

import asyncio
import json
import threading

from gateway.sending import Http
from waiting import GIVE_UP, until

from zart.gateway import aside


async def test_many_steps_of_few_bytes_are_read_aside(http_: Http) -> None:
    body = json.dumps({"taskName": "t", "steps": [{"stepName": str(n)} for n in range(2000)]})
    assert len(body) < aside._LARGE
    go_on = threading.Event()
    try:
        aside._thread.submit(go_on.wait, GIVE_UP)
        await until(lambda: not aside._thread._work_queue.qsize())  # it has begun
        call = asyncio.create_task(asyncio.to_thread(http_.post, "/api/v1/executions", body))
        await until(lambda: call.done() or aside._thread._work_queue.qsize())
        assert not call.done()
        assert http_.post("/api/v1/executions", {"taskName": "none"}).status == 404
    finally:
        go_on.set()
    assert (await call).status == 200
