"""Attempts without a server, and what they leave behind."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

from waiting import GIVE_UP

import zart
from zart.dispatcher.handlers import run_handler
from zart.dispatcher.in_hand import InHand, in_hand_of
from zart.dispatcher.threads import Threads
from zart.v1 import dispatch_service_pb2 as pb

ONCE = zart.Retry(max_attempts=1)


class Held:
    """What a handler has in its hands."""


class Attempts:
    """Runs attempts of one step; the objects that its handlers held are looked at after."""

    def __init__(self, threads: Threads) -> None:
        self.threads = threads
        self.held: list[weakref.ref[Held]] = []

    def hold(self) -> Held:
        held = Held()
        self.held.append(weakref.ref(held))
        return held

    def left(self) -> int:
        """Return how many are there; nobody has looked for what is garbage, but knows itself."""
        return sum(held() is not None for held in self.held)

    async def failed(self, handler: Callable[[Any], Any]) -> pb.TaskFailed:
        """Run one, and return what is told of it."""
        task = zart.Task("t")
        task.step(name="a", retry=ONCE)(handler)
        (in_hand,) = in_hand_of([pb.LeasedTask(task_id="1-1-1", step_name="a")], 0.0)
        told: list[pb.TaskOutcome] = []

        def tell(_: InHand, outcome: pb.TaskOutcome) -> None:
            told.append(outcome)

        running = asyncio.create_task(run_handler(in_hand, task.steps["a"], self.threads, tell))
        in_hand.running = running
        await asyncio.wait_for(running, GIVE_UP)
        return told[0].failed


@contextmanager
def attempting() -> Iterator[Attempts]:
    """Run attempts, while nobody looks for garbage."""
    gc.collect()
    gc.disable()
    try:
        with closing(Threads(8)) as threads:
            yield Attempts(threads)
    finally:
        gc.enable()
