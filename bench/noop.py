"""Steps that do nothing: what is left is the cost of their durability."""

from __future__ import annotations

import zart

noop3 = zart.Task("noop3", sequential=True)
wide = zart.Task("wide", sequential=True)


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


@wide.step()
async def only(_ctx: zart.StepContext) -> None:
    """Do nothing."""


TASKS = (noop3, wide)
