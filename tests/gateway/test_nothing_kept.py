"""What a refused request had is gone with its answer: it waits for no look at all garbage."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Iterator

import grpc
import grpc.aio
import pytest
from gateway.scripted import RESUME, Scripted, post
from gateway.sending import Http
from waiting import until

from zart.gateway import aside
from zart.gateway.statuses import Refusal

LARGE = "x" * aside.LARGE


@pytest.fixture
def no_garbage_collection() -> Iterator[None]:
    """Only what nobody refers to any more goes."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def errors() -> list[object]:
    """Return the errors that are there, each with what the functions had that it went through."""
    kinds = (Refusal, grpc.aio.AioRpcError)
    return [o for o in gc.get_objects() if isinstance(o, kinds) and o.__traceback__ is not None]


@pytest.mark.parametrize(
    "body",
    [{"nothing": LARGE}, {"ruleId": "pr-2", "reason": LARGE}, {"ratePerSecond": [0] * 2000}],
    ids=["a field", "the path", "many parts"],
)
async def test_of_what_the_gateway_refuses(
    scripted: Scripted, http_scripted: Http, no_garbage_collection: None, body: object
) -> None:
    for _ in range(3):
        assert (await post(http_scripted, RESUME, json.dumps(body))).status == 400
    await until(lambda: not errors())
    assert scripted.requests == []


async def test_of_what_the_server_refuses(
    scripted: Scripted, http_scripted: Http, no_garbage_collection: None
) -> None:
    scripted.answer = lambda context: context.abort(grpc.StatusCode.NOT_FOUND, "no")
    for _ in range(3):
        assert (await post(http_scripted, RESUME, {"reason": LARGE})).status == 404
        watched = await asyncio.to_thread(http_scripted.get, "/api/v1/executions/x/watch")
        assert watched.status == 404
    await until(lambda: not errors())
