"""The incident of OPERATING.md, by the commands of docs/incident.md, through ``zart`` as it is run.

``PYTHONPATH=tests python -m acceptance.incident`` plays it at 15,000 executions, and prints how
long each command took; with ``--write`` it writes what they said into the page. A test plays it at
fewer.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
import tempfile
import time
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
from acceptance.incident_orders import UNKNOWN, CardService, is_of_the_outage, order_of
from acceptance.incident_page import Line, known_by, learn, read_page, write_page
from waiting import eventually

import zart
from zart.models import Operation
from zart.testing.server import ServerUnderTest, serving
from zart_server.embedded import postgres
from zart_server.store.migrate import migrate

INCIDENT = "INC-7"
_AT_ONCE = 500  # starts in a call
_DUE = 2.0  # seconds that a command may take
_WAITS = ("--wait", "--plan-token")  # marks of commands that wait for what they are about
_PATIENCE = 600.0
_BIN = Path(sys.executable).parent


@dataclass
class Operator:
    """Types the commands of the page, one after the other, and notes how long each took."""

    address: str
    learned: dict[str, str]  # what stands for the page's ids and rate
    page: list[Line] = field(default_factory=read_page)
    played: list[Line] = field(default_factory=list)
    took: list[tuple[str, float]] = field(default_factory=list)

    async def types(self, words: str) -> str:
        """Run the next command of the page, which begins so; return what was on the screen."""
        line = self.page[len(self.played)]
        assert line.command.startswith(f"zart {words}"), line.command
        command = known_by(self.learned)(line.command)
        shown = "".join([await self._run(part) for part in command.split(" && ")])
        learn(self.learned, shown)
        self.played.append(Line(command, shown.rstrip("\n")))
        return shown

    async def _run(self, command: str) -> str:
        begun = time.perf_counter()
        process = await asyncio.create_subprocess_shell(
            command, stdout=PIPE, stderr=STDOUT,
            env={
                **os.environ,
                "PATH": f"{_BIN}:{os.environ['PATH']}",
                "ZART_ADDRESS": self.address,
                "ZART_INCIDENT": INCIDENT,
                "ZART_TRIGGERED_BY": "ops",
            },
        )  # fmt: skip
        out, _ = await process.communicate()
        self.took.append((command, time.perf_counter() - begun))
        assert process.returncode == 0, (command, process.returncode, out.decode())
        return out.decode()


@dataclass
class Played:
    """What came of the incident."""

    lines: Sequence[Line]
    receipt: zart.PauseReceipt
    audit: list[Operation]
    took: Sequence[tuple[str, float]]


async def play(server: ServerUnderTest, executions: int, rate: str) -> Played:
    """Have the card service fail, pause, prove the fix on one, release the others, and look back.

    One in ten orders more comes while the rule stands.
    """
    service, operator = CardService(), Operator(server.address, {"rate": f"--rate {rate}"})
    names = [f"exec-{n:05}" for n in range(executions + executions // 10)]
    early, late = names[:executions], names[executions:]
    one = "exec-00042"
    charged = [name for name in names if is_of_the_outage(name)]
    async with (
        zart.connect(server.address, triggered_by="shop") as client,
        _looking(server.database_url) as db,
        _dispatched(client, server.address, order_of(service)),
    ):
        await _start(client, early)
        await _until(db, "SELECT count(*) FROM zart.dead_steps", executions)
        await operator.types("errors")
        await operator.types("pause")
        await _start(client, late)
        for_charging = sum(not name.endswith(UNKNOWN) for name in late)
        await _until(db, "SELECT count(*) FROM zart.held", for_charging)
        await operator.types("why")

        service.is_up_for = {one}.__contains__
        await operator.types("exempt")
        await zart.Handle(client, one).result(timeout=_PATIENCE)
        assert list(service.charged) == [one]

        await operator.types("batch retry-step")
        await operator.types("batch retry-step")
        service.is_up_for = lambda _execution_id: True
        await operator.types("rules")
        await operator.types("resume")
        async for _ in client.watch_pause_rule(operator.learned["pr"], until="ended"):
            pass
        completed = "SELECT count(*) FROM zart_executions WHERE status = 'completed'"
        await _until(db, completed, len(charged))
        await operator.types("verify")
        await operator.types("audit")
        assert len(operator.played) == len(operator.page)
        receipt = await client.verify_pause_rule(operator.learned["pr"])
        audit = [
            operation
            async for operation in client.list_operations(
                incident=INCIDENT, include_batch_items=True, page_size=1000
            )
        ]
    assert service.charged == dict.fromkeys(charged, 1)
    return Played(operator.played, receipt, audit, operator.took)


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


def main() -> int:
    """Play it on a database of its own; return 1 if a command took too long."""
    parser = argparse.ArgumentParser(prog="python -m acceptance.incident")
    parser.add_argument("--executions", type=int, default=15_000)
    parser.add_argument("--rate", default="500/s")
    parser.add_argument("--write", action="store_true", help="write docs/incident.md anew")
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
    if given.write:
        write_page(list(played.lines))
    waits = [command for command, _ in played.took if any(mark in command for mark in _WAITS)]
    late = [c for c, seconds in played.took if seconds > _DUE and c not in waits]
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
