"""A system of all its processes that tell Prometheus: a server here, a gateway and a dispatcher."""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from metrics.scraping import scrape
from ports import free_port
from waiting import block_until

from zart.testing.server import ServerUnderTest, serving

# Task `quick` completes; `blocks` keeps the event loop of its dispatcher from doing anything else.
_TASKS = """
import time

import zart

quick = zart.Task("quick")
blocks = zart.Task("blocks")


@quick.step()
def one(ctx: zart.StepContext) -> int:
    return 1


@blocks.step()
async def stands_still(ctx: zart.StepContext) -> None:
    time.sleep(ctx.payload)
"""


@dataclass(frozen=True, slots=True)
class System:
    """Its server, and where each process serves its metrics; ``http``: where the gateway listens."""

    server: ServerUnderTest
    http: str
    metrics: dict[str, str]


@contextlib.contextmanager
def running_system(database_url: str, folder: Path, **settings: object) -> Iterator[System]:
    """Run a system until the context is left; ``folder`` is for the dispatcher's tasks."""
    (folder / "work.py").write_text(_TASKS)
    http = f"127.0.0.1:{free_port()}"
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(
            serving(database_url, metrics_listen="127.0.0.1:0", **settings)
        )
        assert server.running.metrics is not None
        metrics = {"server": server.running.metrics}
        for name, arguments in (
            ("gateway", ("--listen", http)),
            ("dispatcher", ("work:quick", "work:blocks")),
        ):
            metrics[name] = f"127.0.0.1:{free_port()}"
            command = "dispatch" if name == "dispatcher" else name
            stack.enter_context(
                _running(
                    (command, *arguments),
                    folder,
                    {"ZART_ADDRESS": server.address, "ZART_METRICS_LISTEN": metrics[name]},
                )
            )
        for name, series in (
            ("gateway", "zart_gateway_requests_in_progress"),
            ("dispatcher", "zart_dispatcher_slots"),
        ):
            block_until(functools.partial(_tells, metrics[name], series))
        yield System(server, http, metrics)


@contextlib.contextmanager
def _running(arguments: tuple[str, ...], folder: Path, settings: dict[str, str]) -> Iterator[None]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ZART_")} | settings
    process = subprocess.Popen(
        [sys.executable, "-m", "zart.cli", *arguments],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(folder)},
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def _tells(address: str, series: str) -> bool:
    try:
        return series in scrape(address).types
    except OSError:
        return False
