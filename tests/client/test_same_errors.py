"""A run that fails tells the same error in process as on a server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from dispatching import dispatching, start
from rig import Rig
from waiting import GIVE_UP, for_ever

import zart
from zart.testing.server import ServerUnderTest

ONE = zart.Retry(max_attempts=1)


def _raising(error: Exception) -> Callable[[Any], Any]:
    async def step(ctx: zart.StepContext) -> None:
        raise error

    return step


async def _waits(ctx: zart.StepContext) -> None:
    await for_ever()


@pytest.mark.parametrize(
    ("handler", "options", "told"),
    [
        (_waits, {"timeout": 0.1}, "ran longer than 0.1 s"),
        (_waits, {"timeout": timedelta(milliseconds=100)}, "ran longer than 0.1 s"),
        (
            _waits,
            {"timeout": 0.1, "once": True},
            "ran longer than 0.1 s: it may have had its effect",
        ),
        (_raising(ValueError("no card")), {}, "no card"),
        (_raising(ValueError()), {}, "ValueError"),
        (_raising(zart.StepFailed("", retryable=False)), {}, "StepFailed"),
    ],
)
async def test_it_is_told_alike(
    rig: Rig,
    zart_server: ServerUnderTest,
    handler: Callable[[Any], Any],
    options: dict[str, Any],
    told: str,
) -> None:
    task = zart.Task("t")
    task.step(name="charge", retry=ONE, **options)(handler)
    with pytest.raises(zart.RunFailed) as failed:
        await zart.testing.run(task)
    async with dispatching(zart_server, task):
        run = await (await start(rig, task)).run(timeout=GIVE_UP)
    assert failed.value.run.error == run.error == f"charge: {told}"


async def test_that_of_the_step_is_told_which_died_first() -> None:
    """Not of the one that was declared first: as a server tells it."""
    task = zart.Task("t")
    begun = asyncio.Event()

    @task.step(retry=zart.Retry(max_attempts=5, initial_backoff=0.0))
    async def late(ctx: zart.StepContext) -> None:
        await begun.wait()
        raise RuntimeError("too late")

    @task.step(retry=ONE)
    async def early(ctx: zart.StepContext) -> None:
        begun.set()
        raise RuntimeError("no card")

    with pytest.raises(zart.RunFailed) as failed:
        await zart.testing.run(task)
    assert failed.value.run.error == "early: no card"
