"""The service that Restate calls: three durable steps that do nothing."""

from __future__ import annotations

import restate

bench = restate.Service("Bench")
done = 0


@bench.handler()
async def noop3(ctx: restate.Context, _n: int) -> int:
    """Run three steps, each journaled before the next."""
    await ctx.run_typed("one", one)
    await ctx.run_typed("two", two)
    return await ctx.run_typed("three", three)


async def one() -> int:
    return 1


async def two() -> int:
    return 2


async def three() -> int:
    return 3


app = restate.app([bench])
