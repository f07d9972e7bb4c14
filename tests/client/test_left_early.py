"""Who leaves a watch before its end leaves no call behind: it would keep its place in the server."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from batching import dead_steps
from rig import Rig, specs
from waiting import GIVE_UP

import zart
from zart import streams
from zart.calls import execution
from zart.testing.server import serving

CLIENT = Path(zart.__file__).parent
# What is iterated there is no call: a page is one that has ended, and the others are no gRPC.
NO_CALLS = {"self.pages", "request.stream"}

Watch = Callable[[zart.Client, str, str], AsyncGenerator[Any, None]]
WATCHES: dict[str, Watch] = {
    "an execution": lambda client, _rule, _batch: client.watch_execution("x"),
    "a batch": lambda client, _rule, batch_id: client.watch_batch(batch_id),
    "a pause rule": lambda client, rule_id, _batch: client.watch_pause_rule(rule_id),
    "a run": lambda client, _rule, _batch: streams.run(
        client, execution.start("t", execution_id="run", steps=specs({"a": ()}))
    ),
}


@pytest.mark.parametrize("kind", WATCHES)
async def test_a_watch_that_is_left_gives_its_place_back(
    zart_database: str, rig: Rig, kind: str
) -> None:
    await dead_steps(rig.client, 3, "dead")
    created = await rig.client.create_batch(zart.RetryStep(), everything=True, rate_per_second=0.01)
    await rig.start("x", {"a": ()})
    paused = await rig.client.pause(task_name="t")
    with serving(zart_database, max_waiting_calls=1) as server:
        async with zart.connect(server.address) as client, asyncio.timeout(GIVE_UP):
            told = WATCHES[kind](client, paused.rule_id, created.batch_id)
            async with aclosing(told):
                await anext(told)
            async with aclosing(client.watch_pause_rule(paused.rule_id)) as other:
                await anext(other)


async def test_a_loop_that_is_left_gives_its_place_back(zart_database: str, rig: Rig) -> None:
    await rig.start("x", {"a": ()})
    with serving(zart_database, max_waiting_calls=1) as server:
        async with zart.connect(server.address) as client, asyncio.timeout(GIVE_UP):
            for _ in range(2):
                async for _told in client.watch_execution("x"):
                    break


def unnamed(path: Path) -> set[str]:
    """Return what loops of a file iterate over that only they know, so that nobody can end it."""
    loops = [
        node.iter
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.AsyncFor) or (isinstance(node, ast.comprehension) and node.is_async)
    ]
    return {ast.unparse(each.func) for each in loops if isinstance(each, ast.Call)}


def test_no_loop_iterates_over_a_call_that_it_could_not_cancel() -> None:
    files = [
        path for path in CLIENT.rglob("*.py") if not path.name.endswith(("_pb2.py", "_grpc.py"))
    ]

    assert set[str]().union(*map(unnamed, files)) == NO_CALLS
