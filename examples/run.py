"""What ``make run`` runs: everything that zart needs, with work to operate on."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import zipcodes
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column

import zart
from zart.cli.stack import Stack, StackError
from zart.cli.stopping_signals import signals_that_stop
from zart.errors import TaskDefinitionNotFound

FOLDER = Path(".zart")
CARD_DOWN = FOLDER / "card-down"
ADDRESS = os.environ.get("ZART_ADDRESS", "127.0.0.1:50051")
HTTP = os.environ.get("ZART_GATEWAY_LISTEN", "127.0.0.1:8080")
ORDERS = [f"exec-{number:03}" for number in range(1, 13)]
TASK = "airport-finder"
A_SECOND = 4
# Prime, and no divisor of the number of ZIP codes: every code once, from all over the country.
STRIDE = 7919

console = Console(highlight=False, soft_wrap=True)


def zip_codes() -> list[str]:
    """Give all ZIP codes in a fixed order that mixes the states."""
    codes = sorted({place["zip_code"] for place in zipcodes.list_all()})
    return [codes[place * STRIDE % len(codes)] for place in range(len(codes))]


async def start_orders(client: zart.Client) -> None:
    """Start the orders with the card service down; those of an earlier run are left as they are."""
    try:
        await client.get_execution(ORDERS[0])
    except zart.errors.ExecutionNotFound:
        CARD_DOWN.touch()
    starts = [
        zart.Start("order", {"user": number, "amount": 20 + number}, name, (), zart.IfExists.RETURN)
        for number, name in enumerate(ORDERS, 1)
    ]
    async with asyncio.timeout(15):
        while True:  # until the dispatcher has registered the task
            results = await client.batch_start_executions(starts, reason="make run")
            if not any(isinstance(result, TaskDefinitionNotFound) for result in results):
                return
            await asyncio.sleep(0.1)


async def orders_settled(client: zart.Client) -> None:
    """Wait until the orders are finished or dead, or some seconds have gone by."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(10):
            for name in ORDERS:
                await client.handle(name).run()


def progress_bar() -> Progress:
    """Make a bar in one line that leaves room for the ^C with which a terminal shows its end.

    Where that did not fit, the bar was moved to the next line and stood there twice.
    """
    live = Console(highlight=False, width=max(20, console.width - len("^C") * 2))
    text = TextColumn(
        f"{TASK} {{task.description}}", table_column=Column(no_wrap=True, overflow="ellipsis")
    )
    columns = (text, BarColumn(bar_width=12), TimeElapsedColumn())
    return Progress(*columns, console=live, disable=not console.is_terminal)


async def trickle(client: zart.Client, stop: asyncio.Event) -> None:
    """Start a few executions a second, from where the last run left off, and show how they do."""
    codes = zip_codes()
    place_of = {f"zip-{code}": place for place, code in enumerate(codes)}
    newest = await anext(client.list_executions(task_name=TASK, page_size=A_SECOND).pages())
    begun = max((place_of.get(e.execution_id, -1) + 1 for e in newest.items), default=0)
    since = datetime.now(UTC)
    started = 0
    live = console.is_terminal
    with progress_bar() as progress:
        bar = progress.add_task("", total=len(codes), completed=begun)
        lines = 0
        while not stop.is_set():
            batch = codes[begun : begun + A_SECOND]
            starts = [
                zart.Start(TASK, {"zip": code}, f"zip-{code}", (), zart.IfExists.RETURN)
                for code in batch
            ]
            if starts:
                await client.batch_start_executions(starts, reason="make run")
            begun += len(batch)
            started += len(batch)
            text = await _counts(client, since, started)
            progress.update(bar, completed=begun, description=text)
            if not live and lines % 10 == 0:
                console.print(f"{TASK}: {text}")
            lines += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 1.0)


async def _counts(client: zart.Client, since: datetime, started: int) -> str:
    active = await client.list_executions(
        task_name=TASK, statuses=["scheduled", "running"], page_size=1000
    )
    failed = await client.list_executions(
        task_name=TASK, statuses=["failed"], created_after=since, page_size=1000
    )
    finished = max(0, started - len(active))
    return f"{started} started, {finished} finished, {len(failed)} failed (no coordinates)"


def tell() -> None:
    """Print what to try."""
    address = "" if ADDRESS == "127.0.0.1:50051" else f"ZART_ADDRESS={ADDRESS} "
    zart_ = f"{address}.venv/bin/zart"
    body = '\'{"executionId": "exec-001"}\''
    lines = [
        f"{zart_} list --status failed",
        f"{zart_} status exec-001",
        f"{zart_} pause --task-name order --step 'charge-*' --reason 'card service is down'",
        f"{zart_} retry-step exec-001 charge-card --reason 'try again'",
        f"rm {CARD_DOWN}",
        f"{zart_} resume --task-name order --step 'charge-*' --yes",
        f"{zart_} watch exec-001",
        f"{zart_} rerun exec-001 --rerun enrich-data --dry-run",
        f"{zart_} runs exec-001",
        f"{zart_} history exec-001",
        f".venv/bin/grpcurl -plaintext -d {body} {ADDRESS} zart.v1.AdminService/ListRuns",
        f"curl http://{HTTP}/api/v1/executions/exec-001",
    ]
    console.print("\nOperate it, in another terminal, line by line:\n", style="bold")
    for line in lines:
        console.print(f"  {line}", markup=False)
    console.print("\nCtrl-C stops everything; the next `make run` finds it as it was.\n")


async def main() -> None:
    """Run until SIGINT or SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    work = asyncio.create_task(_work(stop))
    for number in signals_that_stop():
        loop.add_signal_handler(number, _stop, stop, work)
    with contextlib.suppress(asyncio.CancelledError):
        await work


def _stop(stop: asyncio.Event, work: asyncio.Task[None]) -> None:
    if not stop.is_set():  # once: it would leave what it stops
        stop.set()
        work.cancel()


async def _work(stop: asyncio.Event) -> None:
    modules = ["examples.order", "examples.airport_finder"]
    console.print("starting PostgreSQL, server, gateway and dispatcher: a few seconds")
    async with Stack(modules, listen=ADDRESS, http=HTTP, folder=FOLDER, quiet=True) as stack:
        console.print(
            f"PostgreSQL, server ({ADDRESS}), HTTP/JSON (http://{HTTP}) and dispatcher are up;"
            f" logs: {FOLDER}/*.log"
        )
        async with zart.connect(ADDRESS, triggered_by="make run") as client:
            await start_orders(client)
            await orders_settled(client)
            down = "down" if CARD_DOWN.exists() else "up"
            console.print(
                f"orders {ORDERS[0]} … {ORDERS[-1]} are there; the card service is {down}"
            )
            tell()
            working = asyncio.create_task(trickle(client, stop))
            try:
                await stack.wait(stop)
            finally:
                working.cancel()
                await asyncio.gather(working, return_exceptions=True)


if __name__ == "__main__":
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # what its encoding does not have
    try:
        asyncio.run(main())
    except StackError as error:
        sys.exit(f"zart: {error}")
