"""Twenty tasks like real ones: graphs with fan-in whose steps wait, give results, fail and die.

They are the same in every process: drawn from a fixed seed. What becomes of a step depends on its
name and its execution's, so that a run repeats what an earlier one did.
"""

from __future__ import annotations

import asyncio
import random
import zlib
from typing import Final

import zart

COUNT: Final = 20
STEPS: Final = (3, 30)
FAN_IN: Final = 3  # steps that one waits for, at most
SECONDS: Final = (0.005, 0.050)
RESULT: Final = (1024, 4096)  # bytes
FAIL_ONCE: Final = 20  # of a hundred steps
DIE: Final = 3  # of a hundred steps

_RETRY = zart.Retry(max_attempts=3, initial_backoff=0.2)
_CHANCE = random.Random(16)  # noqa: S311 - to be the same everywhere
_TEXT = _CHANCE.randbytes(RESULT[1]).hex()


def _add_step(task: zart.Task, number: int) -> None:
    """Declare one more step, which waits for some of those before it."""
    before = list(task.steps)
    seconds, size = _CHANCE.uniform(*SECONDS), _CHANCE.randint(*RESULT)

    @task.step(
        name=f"step-{number}",
        depends_on=_CHANCE.sample(before, min(len(before), _CHANCE.randint(1, FAN_IN))),
        retry=_RETRY,
    )
    async def _work(ctx: zart.StepContext) -> str:
        await asyncio.sleep(seconds)
        drawn = zlib.crc32(ctx.idempotency_key.encode()) % 100
        if drawn < DIE:
            raise zart.StepFailed("meant to", retryable=False)
        if drawn < DIE + FAIL_ONCE and ctx.attempt == 1:
            raise zart.StepFailed("meant to, once")
        begin = drawn * 8
        return _TEXT[begin : begin + size]


def _task(name: str) -> zart.Task:
    task: zart.Task = zart.Task(name)
    for number in range(_CHANCE.randint(*STEPS)):
        _add_step(task, number)
    return task


TASKS = tuple(_task(f"mixed-{n}") for n in range(COUNT))
"""All of them."""

# A dispatcher finds the tasks of a module by its names.
globals().update({task.name.replace("-", "_"): task for task in TASKS})
