"""The incident of OPERATING.md, as far as it needs no batch, through ``zart`` as people run it.

``PYTHONPATH=tests python -m acceptance.incident`` plays it at 15,000 executions, and prints how
long each command took; a test plays it at fewer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import sys
import tempfile
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
from waiting import eventually

import zart
from zart.models import Operation
from zart.testing.server import ServerUnderTest, serving
from zart_server.embedded import postgres
from zart_server.store.migrate import migrate

INCIDENT = "INC-7"
_AT_ONCE = 500  # starts in a call, retries under way
_DUE = 2.0  # seconds that a command may take
_PATIENCE = 600.0
_ZART = Path(sys.executable).parent / "zart"


@dataclass
class CardService:
    """Is down, up for some, or up again."""

    is_up_for: Callable[[str], bool] = lambda _execution_id: False
    _calls: dict[str, int] = field(default_factory=dict)

    def charge(self, execution_id: str) -> str:
        """Charge a card. Raises StepFailed while the service is down."""
        if not self.is_up_for(execution_id):
            raise zart.StepFailed(f"card service: 503 for {execution_id}", retryable=False)
        self._calls[execution_id] = self._calls.get(execution_id, 0) + 1
        return "charged"

    @property
    def charged(self) -> dict[str, int]:
        """How often each was charged."""
        return self._calls


def order_of(service: CardService) -> zart.Task:
    """Return the task whose second step needs the card service."""
    order = zart.Task("order")

    @order.step()
    async def lookup_user(_ctx: zart.StepContext) -> str:
        return "user"

    @order.step(name="charge-card", depends_on=[lookup_user])
    async def charge_card(ctx: zart.StepContext) -> str:
        return service.charge(ctx.execution_id)

    @order.step(depends_on=[charge_card])
    async def send_email(_ctx: zart.StepContext) -> str:
        return "sent"

    return order


@dataclass
class Operator:
    """Types commands, and notes how long each took."""

    address: str
    took: list[tuple[str, float]] = field(default_factory=list)

    async def types(self, *words: str, code: int = 0) -> str:
        """Run a command; give what it printed. Raises AssertionError for another exit code."""
        begun = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            _ZART, *words, stdout=PIPE, stderr=PIPE,
            env={**os.environ, "ZART_ADDRESS": self.address, "ZART_INCIDENT": INCIDENT},
        )  # fmt: skip
        out, err = await process.communicate()
        self.took.append((" ".join(words[:1]), time.perf_counter() - begun))
        assert process.returncode == code, (words, process.returncode, err.decode())
        return out.decode()

    async def reads(self, *words: str) -> Any:
        """Run a command; give its answer as scripts get it."""
        return json.loads(await self.types(*words, "-o", "json"))


@dataclass
class Played:
    """What came of the incident."""

    rule_id: str
    receipt: dict[str, Any]
    audit: list[Operation]
    took: Sequence[tuple[str, float]]


async def play(server: ServerUnderTest, executions: int, rate: float) -> Played:
    """Have the card service fail, pause, prove the fix on one, release the others, and look back.

    Two thirds of the executions are dead when somebody looks; the others come later.
    """
    service, operator = CardService(), Operator(server.address)
    names = [f"exec-{n:05}" for n in range(executions)]
    early, late = names[: executions * 2 // 3], names[executions * 2 // 3 :]
    async with (
        zart.connect(server.address, triggered_by="shop") as client,
        _looking(server.database_url) as db,
        _dispatched(client, server.address, order_of(service)),
    ):
        await _start(client, early)
        await _until(db, "SELECT count(*) FROM zart.steps WHERE status = 'dead'", len(early))

        scope = ("--task-name", "order", "--step", "charge-*")
        await operator.types("pause", *scope, "--reason", "card service down", "--wait")
        (rule,) = (await operator.reads("rules"))["rules"]
        assert rule["drainedAt"]
        rule_id = rule["ruleId"]
        await _start(client, late)

        one = early[42]
        why = await operator.types("why", one, "charge-card")
        assert "503" in why
        assert rule_id in why
        await operator.types("exempt", rule_id, one, "--reason", "the fix, proven on one")
        service.is_up_for = {one}.__contains__
        await operator.types("retry-step", one, "charge-card")
        await zart.Handle(client, one).result(timeout=_PATIENCE)
        assert list(service.charged) == [one]

        await _retry(client, [name for name in early if name != one])
        await _until(db, "SELECT count(*) FROM zart.held", executions - 1)
        (rule,) = (await operator.reads("rules"))["rules"]
        assert rule["pausedSteps"] == min(executions - 1, 10_000)
        service.is_up_for = lambda _execution_id: True
        await operator.types("resume", "--rule-id", rule_id, "--rate", f"{rate:g}/s")
        async for _ in client.watch_pause_rule(rule_id, until="ended"):
            pass
        completed = "SELECT count(*) FROM zart_executions WHERE status = 'completed'"
        await _until(db, completed, executions)
        receipt = await operator.reads("verify", rule_id)
        assert "RELEASE_END" in await operator.types("audit", "--incident", INCIDENT)
        audit = [o async for o in client.list_operations(incident=INCIDENT, page_size=1000)]
    assert service.charged == dict.fromkeys(names, 1)
    return Played(rule_id, receipt, audit, operator.took)


@asynccontextmanager
async def _looking(url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    db = await asyncpg.connect(url)
    try:
        yield db
    finally:
        await db.close()


@asynccontextmanager
async def _dispatched(client: zart.Client, address: str, task: zart.Task) -> AsyncIterator[None]:
    """Run a dispatcher whose task is registered."""
    stop = asyncio.Event()
    dispatcher = zart.Dispatcher([task], address=address, concurrency=200)
    running = asyncio.create_task(dispatcher.run(stop))

    async def is_registered() -> bool:
        return bool(await client.list_task_definitions())

    try:
        await eventually(is_registered)
        yield
    finally:
        stop.set()
        await running


async def _until(db: asyncpg.Connection[asyncpg.Record], count: str, wanted: int) -> None:
    async def are_there() -> bool:
        found: int = await db.fetchval(count)
        return found >= wanted

    await eventually(are_there, within=_PATIENCE)


async def _start(client: zart.Client, names: Sequence[str]) -> None:
    for begin in range(0, len(names), _AT_ONCE):
        some = names[begin : begin + _AT_ONCE]
        await client.batch_start_executions([zart.Start("order", None, name) for name in some])


async def _retry(client: zart.Client, names: Sequence[str]) -> None:
    """Retry the dead steps of many: each is paused by the rule."""
    for begin in range(0, len(names), _AT_ONCE):
        some = names[begin : begin + _AT_ONCE]
        done = await asyncio.gather(
            *(client.retry_step(name, "charge-card", incident=INCIDENT) for name in some)
        )
        assert {each.step.status for each in done} == {"PAUSED"}


def main() -> int:
    """Play it on a database of its own; return 1 if a command took too long."""
    parser = argparse.ArgumentParser(prog="python -m acceptance.incident")
    parser.add_argument("--executions", type=int, default=15_000)
    parser.add_argument("--rate", type=float, default=500.0)
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    with (
        tempfile.TemporaryDirectory(prefix="zart-incident-") as folder,
        postgres.running(Path(folder)) as database,
    ):
        asyncio.run(migrate(database.url))
        with serving(database.url) as server:
            played = asyncio.run(play(server, given.executions, given.rate))
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for command, seconds in played.took:
        print(f"{seconds:6.2f} s  {command}")
    late = [command for command, seconds in played.took if seconds > _DUE and command != "pause"]
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
