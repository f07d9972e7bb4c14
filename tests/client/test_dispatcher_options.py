"""A dispatcher that no server would lease a task to says so, and does not wait for ever."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from waiting import GIVE_UP

import zart
from zart.testing.server import ServerUnderTest


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"concurrency": 0}, "concurrency"),
        ({"lease": 0.5}, "lease must be 1 to 3600 seconds"),
        ({"lease": 7200}, "lease must be 1 to 3600 seconds"),
        ({"lease": float("nan")}, "lease must be 1 to 3600 seconds"),
        ({"dispatcher_id": " "}, "dispatcher_id"),
        ({"dispatcher_id": "ü" * 128}, "dispatcher_id"),
    ],
)
def test_what_no_server_takes_is_refused_when_it_is_made(
    options: dict[str, Any], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        zart.Dispatcher([zart.Task("t")], **options)


async def test_what_a_server_refuses_for_ever_ends_it(zart_server: ServerUnderTest) -> None:
    task = zart.Task("t")

    @task.step(name="a")
    async def step(_ctx: zart.StepContext) -> None:
        """Do nothing."""

    dispatcher = zart.Dispatcher(
        [task], address=zart_server.address, dispatcher_id="control \x01 character"
    )
    with pytest.raises(zart.errors.InvalidField, match="dispatcher_id"):
        await asyncio.wait_for(dispatcher.run(asyncio.Event()), GIVE_UP)
