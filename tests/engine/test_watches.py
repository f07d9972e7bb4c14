"""A watch is told of whatever happens to its run, without anybody polling; together with others."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable

import pytest
from engine.watched import watched
from rig import CHAIN, DIAMOND, Rig, eventually, maintain

import zart
from zart.testing.server import ServerUnderTest

pytestmark = pytest.mark.usefixtures("nobody_polls")


Way = Callable[[Rig, str], Awaitable[None]]
Ways = dict[str, tuple[Way, Way, dict[str, str]]]
HURRY: Ways = {}  # name → what is there before, what happens, and what is seen of it
REST: Ways = {}
RULES: Ways = {}


def _way(ways: Ways, before: Way, seen: dict[str, str]) -> Callable[[Way], Way]:
    def add(change: Way) -> Way:
        ways[change.__name__.replace("_", "-")] = before, change, seen
        return change

    return add


async def _fresh(rig: Rig, name: str) -> None:
    await rig.start(name, CHAIN, task=name)


async def _leased(rig: Rig, name: str) -> None:
    await _fresh(rig, name)
    await rig.lease(1, task=name)


async def _at_the_last(rig: Rig, name: str) -> None:
    await _fresh(rig, name)
    for step in "ab":
        await rig.complete(await rig.lease_one(step, name, task=name))
    await rig.lease(1, task=name)


async def _rerun_at_the_last(rig: Rig, name: str) -> None:
    await _fresh(rig, name)
    await rig.work(task=name)
    await rig.client.rerun(name, force_rerun=["b"])
    await rig.lease(1, task=name)


async def _failed_in_one_branch(rig: Rig, name: str) -> None:
    await rig.start(name, {"a": (), "b": ()}, task=name)
    await rig.lease(2, task=name)
    await rig.fail(rig.leased[name, "a"])


async def _joining(rig: Rig, name: str) -> None:
    await rig.start(name, DIAMOND, task=name)
    await rig.complete(await rig.lease_one("a", name, task=name))
    for task in await rig.lease(2, task=name):
        if task.step_name == "b":
            await rig.complete(task)


@_way(HURRY, _leased, {"run": "0 FAILED", "a": "DEAD"})
async def a_death(rig: Rig, name: str) -> None:
    await rig.fail(rig.leased[name, "a"])


@_way(HURRY, _at_the_last, {"run": "0 COMPLETED", "c": "COMPLETED"})
async def the_end(rig: Rig, name: str) -> None:
    await rig.complete(rig.leased[name, "c"])


@_way(HURRY, _rerun_at_the_last, {"run": "1 COMPLETED", "b": "COMPLETED"})
async def the_end_of_a_rerun(rig: Rig, name: str) -> None:
    await rig.complete(rig.leased[name, "b"])


@_way(HURRY, _leased, {"run": "0 CANCELLED", "a": "CANCELLED", "c": "CANCELLED"})
async def cancel(rig: Rig, name: str) -> None:
    await rig.client.cancel_execution(name)


@_way(HURRY, _leased, {"run": "1 SCHEDULED", "a": "SCHEDULED"})
async def restart(rig: Rig, name: str) -> None:
    await rig.client.restart(name)


@_way(HURRY, _at_the_last, {"run": "1 SCHEDULED", "a": "COMPLETED", "c": "SCHEDULED"})
async def rerun(rig: Rig, name: str) -> None:
    await rig.client.rerun(name)


@_way(HURRY, _failed_in_one_branch, {"run": "0 RUNNING", "a": "SCHEDULED"})
async def retry_step(rig: Rig, name: str) -> None:
    await rig.client.retry_step(name, "a")


@_way(REST, _fresh, {"run": "0 RUNNING", "a": "RUNNING"})
async def a_lease(rig: Rig, name: str) -> None:
    await rig.lease(1, task=name)


@_way(REST, _leased, {"run": "0 RUNNING", "a": "SCHEDULED"})
async def giving_back(rig: Rig, name: str) -> None:
    task = rig.leased[name, "a"]
    await rig.report(zart.Outcome(task.task_id, task.lease_token, zart.Released()))


@_way(REST, _leased, {"run": "0 RUNNING", "a": "SCHEDULED"})
async def a_failure(rig: Rig, name: str) -> None:
    await rig.fail(rig.leased[name, "a"], retryable=True)


@_way(REST, _leased, {"run": "0 RUNNING", "a": "COMPLETED", "b": "SCHEDULED"})
async def a_step(rig: Rig, name: str) -> None:
    await rig.complete(rig.leased[name, "a"])


@_way(REST, _joining, {"run": "0 RUNNING", "c": "COMPLETED", "d": "SCHEDULED"})
async def a_join(rig: Rig, name: str) -> None:
    await rig.complete(rig.leased[name, "c"])


@_way(REST, _leased, {"run": "0 RUNNING", "a": "SCHEDULED"})
async def a_lost_lease(rig: Rig, name: str) -> None:
    await rig.db.execute(
        "UPDATE zart.leases SET lease_expires_at = statement_timestamp() WHERE run_key = ("
        " SELECT run_key FROM zart.runs WHERE listed_task = $1)",
        name,
    )  # its maintenance looks each second


async def _all_told(rig: Rig, ways: Ways) -> None:
    async def told(name: str) -> None:
        before, change, wanted = ways[name]
        await before(rig, name)
        async with watched(rig, name) as seen:
            assert not wanted.items() <= seen.state.items()
            await change(rig, name)

            async def is_told() -> bool:
                return wanted.items() <= seen.state.items()

            try:
                await eventually(is_told)
            except TimeoutError:
                pytest.fail(f"{name}: {seen.state}")

    async with asyncio.TaskGroup() as group:
        for name in ways:
            group.create_task(told(name))


async def test_what_ends_and_what_operators_do_waits_for_no_turn(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    # Nothing is read that can wait.
    zart_server.running.runtime.watches._hints._others_at = math.inf

    await _all_told(rig, HURRY)


async def test_each_other_way_in_which_a_run_changes_is_told(rig: Rig) -> None:
    await _all_told(rig, REST)


@_way(RULES, _fresh, {"a": "PAUSED"})
async def pause_of_the_task(rig: Rig, name: str) -> None:
    await rig.client.pause(task_name=name, reason="x")


@_way(RULES, _fresh, {"a": "PAUSED"})
async def pause_of_the_execution(rig: Rig, name: str) -> None:
    await rig.client.pause(execution_id=name, reason="x")


async def _paused(rig: Rig, name: str) -> None:
    await rig.client.pause(task_name=name, reason="x")
    await _fresh(rig, name)


@_way(RULES, _paused, {"a": "SCHEDULED"})
async def resume(rig: Rig, name: str) -> None:
    await rig.client.resume(task_name=name)


@_way(RULES, _paused, {"a": "SCHEDULED"})
async def expiry(rig: Rig, name: str) -> None:
    await rig.db.execute(
        "UPDATE zart.pause_rules SET expires_at = statement_timestamp() WHERE task_name = $1", name
    )


async def test_what_rules_do_is_told(rig: Rig, zart_server: ServerUnderTest) -> None:
    for name, way in RULES.items():
        await _all_told(rig, {name: way})
        await maintain(zart_server)
