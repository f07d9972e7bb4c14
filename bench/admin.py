"""What an operator waits for: RetryStep, Restart and Rerun beside a short and a long history."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf.message import Message

import zart
from bench import peer
from bench.calls import calling
from bench.history import checked, multiplied
from bench.product import Product, product, registered
from bench.run import Run, told
from bench.series import Series, p50_p99
from bench.target import Target, at_least, at_most
from zart.models import StepError
from zart.v1 import admin_service_pb2 as pb

TITLE = "RetryStep, Restart and Rerun: one at a time, and restarts from 16 callers"
COLUMNS = {"p50_ms": "p50, ms", "p99_ms": "p99, ms", "restarts_per_second": "/s from 16 callers"}
PLOT = ("p50_ms", "p50 in ms, one at a time")
SHORT, LONG = "10 thousand", "1 million"
OPERATIONS = ("RetryStep", "Restart", "Rerun")
BIG = "1 MiB results"
_MIB = secrets.token_hex(2**19 - 1)  # that PostgreSQL cannot make small, and its quotes


async def measure(run: Run, series: Series) -> dict[str, object]:
    """Build both histories, then measure on them in turn."""
    each = _Each(run.size(250, 5), run.size(30, 2), run.size(2500, 20))
    rounds = run.times(3)
    with product() as short, product() as long:
        sizes = ((short, SHORT, run.size(10_000, 50)), (long, LONG, run.size(1_000_000, 100)))
        for made, _, size in sizes:
            made.serve()
            await _history(made, size, each, len(rounds))
        for round_ in rounds:
            for made, name, _ in sizes:
                await _operate(series, made, name, each.small, round_)
                await _operate(series, made, f"{name}, {BIG}", each.big, round_, "-big")
                await _restart_many(series, made, name, each.restarts, round_)
            for other in peer.installed("restart") if run.peers else []:
                found = await peer.measured(other, "restart", run.size(2000, 80))
                told(series, _PEER_OPERATIONS[other.name], **found)
    return {
        "operations a round": each.small,
        "with large results": each.big,
        "peers' history": run.size(2000, 80),
    }


@dataclass(frozen=True)
class _Each:
    """How many operations of each kind a round has."""

    small: int
    big: int
    restarts: int


_RESTATE = f"{peer.RESTATE.name}, restart-as-new"
_PEER_OPERATIONS = {
    peer.RESTATE.name: _RESTATE,
    peer.DBOS.name: f"{peer.DBOS.name}, fork",
    peer.ABSURD.name: f"{peer.ABSURD.name}, retry as new",
    peer.ZART_ITSELF.name: f"{peer.ZART_ITSELF.name}, restart",
}


def targets(series: Series) -> list[Target]:
    """Issue 3, line 5; against Restate issue 16."""
    found = []
    for operation in OPERATIONS:
        for name in (f"{operation}, {LONG}", f"{operation}, {LONG}, {BIG}"):
            if series.has(name, "p50_ms"):
                numbers = series.numbers[name]
                found.append(at_most(3, f"{name}: p50", numbers["p50_ms"], "ms"))
                found.append(at_most(12, f"{name}: p99", numbers["p99_ms"], "ms"))
    for operation in OPERATIONS:
        ratio = series.ratio(
            (f"{operation}, {LONG}", "p50_ms"), (f"{operation}, {SHORT}", "p50_ms")
        )
        found.append(at_most(1.5, f"{operation}: p50 of {LONG} against {SHORT}", ratio))
    rate = series.numbers[f"Restart, {LONG}"]["restarts_per_second"]
    found.append(at_least(1000, f"Restarts from 16 callers, {LONG}", rate, "/s"))
    if series.has(_RESTATE, "p50_ms"):
        for operation in OPERATIONS:
            ratio = series.ratio((f"{operation}, {SHORT}", "p50_ms"), (_RESTATE, "p50_ms"))
            found.append(at_most(1.1, f"{operation}: p50 against Restate's", ratio))
        many = "restarts_per_second"
        ratio = series.ratio((f"Restart, {SHORT}", many), (_RESTATE, many))
        found.append(at_least(1, "Restarts from 16 callers, against Restate's", ratio))
    return found


async def _history(made: Product, size: int, each: _Each, rounds: int) -> None:
    """Make one execution of each kind through the API, and copy it."""
    copies = {
        "dead": each.small * rounds,
        "dead-big": each.big * rounds,
        "done-big": each.big * rounds * 2,  # half of them are restarted, half rerun
        "restarted": each.restarts * rounds,
        "done": size,
    }
    async with made.client() as client:
        await registered(client)
        for name in copies:
            result = _MIB if name.endswith("-big") else 1
            await ran(client, name, result, dead=name.startswith("dead"))
        for name, count in copies.items():
            await multiplied(made, name, count)
            is_dead = name.startswith("dead")
            status = zart.StepStatus.DEAD if is_dead else zart.StepStatus.COMPLETED
            await checked(client, name, count, "three", status)


async def ran(client: zart.Client, execution_id: str, result: object, *, dead: bool) -> None:
    """Run an execution to its end; its last step dies where ``dead``."""
    await client.start("noop3", execution_id=execution_id)
    while True:
        leased = await client.lease_tasks("bench", ["noop3"])
        if not leased:
            return
        (task,) = leased
        ending: zart.Completed | zart.Failed = zart.Completed(result)
        if dead and task.step_name == "three":
            ending = zart.Failed(StepError("Bench", "as ordered", ""), retryable=False)
        outcome = zart.Outcome(task.task_id, task.lease_token, ending)
        await client.report_tasks("bench", [outcome])


async def _operate(
    series: Series, made: Product, history: str, count: int, round_: int, kind: str = ""
) -> None:
    """Send each operation so many times, one at a time, on executions of its own."""
    firsts = range(2 * round_ * count + 1, (2 * round_ + 1) * count + 1)
    seconds = range((2 * round_ + 1) * count + 1, (2 * round_ + 2) * count + 1)
    dead = range(round_ * count + 1, (round_ + 1) * count + 1)
    kinds: dict[str, Sequence[Message]] = {
        "RetryStep": [
            pb.RetryStepRequest(execution_id=f"dead{kind}-{n}", step_name="three") for n in dead
        ],
        "Restart": [pb.RestartRequest(execution_id=f"done{kind}-{n}") for n in firsts],
        "Rerun": [
            pb.RerunRequest(execution_id=f"done{kind}-{n}", force_rerun=["three"]) for n in seconds
        ],
    }
    async with calling(made.address) as caller:
        for method, requests in kinds.items():
            timed = await caller.timed("AdminService", method, requests)
            told(series, f"{method}, {history}", **p50_p99(timed.milliseconds))


async def _restart_many(
    series: Series, made: Product, history: str, count: int, round_: int
) -> None:
    async with calling(made.address) as caller:
        first = round_ * count + 1
        requests = [
            pb.RestartRequest(execution_id=f"restarted-{n}") for n in range(first, first + count)
        ]
        timed = await caller.timed("AdminService", "Restart", requests, callers=16)
        told(series, f"Restart, {history}", restarts_per_second=timed.per_second)
