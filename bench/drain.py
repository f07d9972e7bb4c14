"""How fast a backlog drains: 3-step no-op executions, one server, one dispatcher process."""

from __future__ import annotations

import asyncio
import sys
import time

from bench.product import Product, drained, product, registered, started


async def drain(made: Product, executions: int, first: int = 0) -> dict[str, float]:
    """Queue executions, start a dispatcher, and measure from its first to the last outcome."""
    async with made.client() as client, made.db() as db:
        await registered(client)
        await started(client, executions, first=first)
        server, postgres = made.servers[0].cpu, made.postgres_cpu
        dispatcher = made.dispatch(256)
        while not await db.fetchval("SELECT EXISTS (SELECT FROM zart.attempts WHERE run_key >"
                                    " (SELECT max(run_key) - $1 FROM zart.runs))", executions):
            await asyncio.sleep(0.005)
        begun = time.perf_counter()
        boot = dispatcher.cpu
        await drained(db)
        seconds = time.perf_counter() - begun
        steps = executions * 3
        per_step = 1e6 / steps
        found = {
            "steps_per_second": steps / seconds,
            "server_us_per_step": (made.servers[0].cpu - server) * per_step,
            "dispatcher_us_per_step": (dispatcher.cpu - boot) * per_step,
            "postgres_us_per_step": (made.postgres_cpu - postgres) * per_step,
        }
        made.stop_dispatchers()
        return found


async def main(executions: int, rounds: int) -> None:
    """Measure."""
    with product() as made:
        made.serve()
        for n in range(rounds):
            print({k: round(v, 1) for k, v in (await drain(made, executions, n * executions)).items()}, flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
