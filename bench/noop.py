"""Steps that do nothing: what is left is the cost of their durability."""

from __future__ import annotations

import zart

noop3 = zart.Task("noop3", sequential=True)
single = zart.Task("single")
ten = zart.Task("ten")
dying = zart.Task("dying", sequential=True)


@noop3.step()
async def one(_ctx: zart.StepContext) -> int:
    """Do nothing."""
    return 1


@noop3.step()
async def two(_ctx: zart.StepContext) -> int:
    """Do nothing."""
    return 2


@noop3.step()
async def three(_ctx: zart.StepContext) -> int:
    """Do nothing."""
    return 3


@single.step()
async def only(_ctx: zart.StepContext) -> None:
    """Do nothing; inline graphs are made of it too."""


@dying.step()
async def alive(_ctx: zart.StepContext) -> None:
    """Do nothing."""


@dying.step()
async def dead(_ctx: zart.StepContext) -> None:
    """Fail for good."""
    raise zart.StepFailed("meant to", retryable=False)


for _n in range(10):

    @ten.step(name=f"step-{_n}")
    async def _nothing(_ctx: zart.StepContext) -> None: ...


TASKS = (noop3, single, ten, dying)
"""All of them."""
