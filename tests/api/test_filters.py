"""A filter finds what reading everything would find: for lists, and for batches step by step."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from invariants import broken
from rig import CHAIN, Rig
from waiting import eventually

import zart
from zart import ExecutionFilter
from zart.models import ExecutionState, Step
from zart.testing.server import ServerUnderTest
from zart_server.domain.error_kinds import ErrorKind
from zart_server.domain.filters import ExecutionFilter as Wanted
from zart_server.domain.fingerprint import NEWEST, fingerprint
from zart_server.domain.model import RunStatus, StepError, StepStatus
from zart_server.store.db import Database
from zart_server.store.reads.selected import select_page

PAIR = {"charge-card": (), "send-mail": (), "done": ("charge-card", "send-mail")}
MESSAGES = ("card 4711 was declined", "card 12 was declined", "no route to 10.0.0.7:443")


def _group(message: str) -> str:
    return fingerprint("Broken", message, NEWEST).error_group_id


async def _deaths(rig: Rig) -> list[ExecutionState]:
    """Executions of two tasks that died in three ways, some of them twice, and others."""
    for task in ("order", "parcel"):
        for n, message in enumerate(MESSAGES):
            name = f"{task}-{n}"
            await rig.start(name, PAIR, task=task)
            for leased in await rig.lease(task=task):
                if leased.step_name == "charge-card" or n == 2:
                    await rig.fail(leased, message=message)
                else:
                    await rig.complete(leased)
        await rig.start(f"{task}-restarted", PAIR, task=task)
        await rig.work(task=task, fail=["charge-card"])
        await rig.client.restart(f"{task}-restarted")
        await rig.start(f"{task}-half", PAIR, task=task)
        leased = await rig.lease_one("charge-card", f"{task}-half", task=task)
        await rig.fail(leased, message=MESSAGES[0])
        await rig.start(f"{task}-cancelled", PAIR, task=task)
        await rig.fail(await rig.lease_one("send-mail", f"{task}-cancelled", task=task))
        await rig.client.cancel_execution(f"{task}-cancelled")
        await rig.client.pause(execution_id=f"{task}-held")
        await rig.start(f"{task}-held", PAIR, task=task)
        await rig.start(f"{task}-done", {"a": ()}, task=task)
        await rig.work(task=task, fail=["charge-card", "send-mail"])
    assert await broken(rig.db) == {}
    listed = await rig.client.list_executions()
    return [await rig.client.get_execution(one.execution_id) for one in listed]


def _fits(status: str, step: Step, **wanted: Any) -> bool:
    error = step.last_error
    states = wanted.get("step_statuses") or ["DEAD"]
    return (
        step.status in states
        and (step.status == "DEAD" or status in ("SCHEDULED", "RUNNING"))
        and ("step_pattern" not in wanted or step.step_name.startswith(wanted["step_pattern"][:-1]))
        and (
            "error_group_id" not in wanted
            or (error is not None and wanted["error_group_id"] == _group(error.message))
        )
        and (
            "error_contains" not in wanted
            or (error is not None and wanted["error_contains"] in error.message)
        )
    )


FILTERS: list[dict[str, Any]] = [
    {},
    {"task_name": "order"},
    {"statuses": ["FAILED"]},
    {"statuses": ["CANCELLED", "COMPLETED"], "task_name": "parcel"},
    {"step_statuses": ["DEAD"]},
    {"step_statuses": ["DEAD"], "statuses": ["CANCELLED"]},
    {"step_statuses": ["DEAD"], "execution_id_prefix": "order-"},
    {"execution_id_prefix": "parcel-h"},
    {"step_pattern": "charge-*"},
    {"step_pattern": "send-*", "task_name": "order"},
    {"step_pattern": "send-*", "statuses": ["FAILED"]},
    {"error_group_id": _group(MESSAGES[0])},
    {"error_group_id": _group(MESSAGES[0]), "step_pattern": "send-*"},
    {"error_group_id": _group(MESSAGES[2]), "step_pattern": "send-*"},
    {"error_group_id": _group(MESSAGES[0]), "error_contains": "4711"},
    {"error_contains": "route", "task_name": "order"},
    {"error_contains": "route", "execution_id_prefix": "order-"},
    {"step_statuses": ["PAUSED"]},
    {"step_statuses": ["PENDING", "PAUSED"], "task_name": "order"},
    {"step_statuses": ["PAUSED", "DEAD"]},
    {"step_statuses": ["PAUSED"], "execution_id_prefix": "order-"},
]


async def test_a_filter_finds_what_is_there(rig: Rig, zart_server: ServerUnderTest) -> None:
    everything = await _deaths(rig)
    db = await Database.open(zart_server.database_url, pool_size=1)
    try:
        for wanted in FILTERS:
            asked = {"step_pattern", "error_group_id", "error_contains", "step_statuses"}
            fitting = {
                state.execution.execution_id: [
                    step.step_name
                    for step in state.steps
                    if _fits(state.execution.status, step, **wanted)
                ]
                for state in everything
                if wanted.get("task_name") in (None, state.execution.task_name)
                and ("statuses" not in wanted or state.execution.status in wanted["statuses"])
                and state.execution.execution_id.startswith(wanted.get("execution_id_prefix", ""))
            }
            if asked & wanted.keys():
                fitting = {name: steps for name, steps in fitting.items() if steps}
            expected = [
                state.execution.execution_id
                for state in everything
                if state.execution.execution_id in fitting
            ]
            for size in (0, 1):
                found = rig.client.list_executions(ExecutionFilter(**wanted), page_size=size)
                assert [one.execution_id for one in await found] == expected, wanted
            names: list[tuple[str, str | None]]
            if asked & wanted.keys():
                names = [(name, step) for name in expected for step in fitting[name]]
            else:
                names = [(name, None) for name in expected]
            assert await _selected(rig.db, db, wanted) == names, wanted
    finally:
        await db.close()


async def _selected(
    look: asyncpg.Connection[asyncpg.Record], db: Database, wanted: dict[str, Any]
) -> list[tuple[str, str | None]]:
    """What is selected for a batch, executions two by two."""
    values = dict(wanted)
    for name, kind in (("statuses", RunStatus), ("step_statuses", StepStatus)):
        values[name] = tuple(kind(one.lower()) for one in wanted.get(name, ()))
    found, after = [], None
    while True:
        async with db.autocommit() as connection:
            page = await select_page(connection, Wanted(**values), after, 2)
        found += page.items
        if page.next_key is None:
            break
        after = page.next_key
    names = []
    for item in found:
        row = await look.fetchrow(
            "SELECT e.execution_id, d.step_names FROM zart.runs JOIN zart.executions e"
            " USING (execution_key) JOIN zart.definitions d USING (definition_key)"
            " WHERE run_key = $1 AND is_current AND execution_key = $2",
            item.run_key,
            item.execution_key,
        )
        assert row is not None
        step = None if item.step_no is None else row["step_names"][item.step_no]
        names.append((row["execution_id"], step))
    return names


async def test_steps_are_found_by_when_they_died(rig: Rig) -> None:
    await rig.dead("before")
    between = datetime.now(UTC)
    await rig.dead("after")

    async def found(**wanted: Any) -> list[str]:
        listed = rig.client.list_executions(ExecutionFilter(**wanted))
        return [one.execution_id for one in await listed]

    assert await found(dead_after=between) == ["after"]
    assert await found(dead_before=between) == ["before"]
    assert await found(dead_after=between, dead_before=between) == []
    assert await found(dead_after=between, step_pattern="a") == []
    assert await found(created_after=between) == ["after"]
    assert await found(created_before=between, step_pattern="b") == ["before"]


async def test_all_conditions_hold_of_one_step(rig: Rig) -> None:
    await rig.start("x", PAIR)
    for leased in await rig.lease():
        await rig.fail(leased, message=f"of {leased.step_name}")

    def listed(step: str, text: str) -> Awaitable[list[Any]]:
        wanted = ExecutionFilter(step_pattern=step, error_contains=text)
        return rig.client.list_executions(wanted)

    assert len(await listed("charge-card", "of charge")) == 1
    assert not await listed("charge-card", "of send")


async def test_who_started_it_is_asked_of_the_first_run(rig: Rig) -> None:
    for who in ("ann", "bob"):
        await rig.client.start("t", execution_id=who, steps=[zart.StepSpec("a")], triggered_by=who)
    await rig.client.restart("ann", triggered_by="bob")
    wanted = ExecutionFilter(
        triggered_by="bob", created_after=datetime.now(UTC) - timedelta(days=7)
    )

    assert [one.execution_id for one in await rig.client.list_executions(wanted)] == ["bob"]


async def test_what_a_rule_withholds(rig: Rig) -> None:
    rule = await rig.client.pause(task_name="t", step_pattern="a")
    other = await rig.client.pause(task_name="t")
    await rig.start("x", {"a": (), "b": ()})

    async def found(rule_id: str, **more: Any) -> int:
        wanted = ExecutionFilter(rule_id=rule_id, **more)
        return len(await rig.client.list_executions(wanted))

    assert await found(rule.rule_id) == await found(other.rule_id) == 1
    assert await found(rule.rule_id, step_pattern="b") == 0
    assert await found(other.rule_id, step_pattern="b", step_statuses=["PAUSED"]) == 1
    # As it counts them: whatever rule they are attributed to, but not what it has let go.
    assert await found(other.rule_id, step_pattern="a") == 1
    await rig.client.update_pause_rule(other.rule_id, exempt=["x"])
    assert await found(other.rule_id, step_pattern="a") == 0
    await rig.client.update_pause_rule(other.rule_id, unexempt=["x"])
    assert await found(other.rule_id, step_pattern="a") == 1
    await rig.client.resume(rule_id=rule.rule_id)
    assert await found(rule.rule_id) == 0
    with pytest.raises(zart.errors.PauseRuleNotFound):
        await found("pr-nowhere1")


Deed = Callable[[Rig], Awaitable[Any]]


@pytest.mark.parametrize(
    "deed",
    [
        lambda rig: rig.client.retry_step("x", "b"),
        lambda rig: rig.client.restart("x"),
        lambda rig: rig.client.rerun("x"),
    ],
    ids=["retry", "restart", "rerun"],
)
async def test_what_is_dead_no_more_is_found_no_more(rig: Rig, deed: Deed) -> None:
    await rig.dead()
    wanted = ExecutionFilter(error_group_id=_group("no"))
    assert len(await rig.client.list_executions(wanted)) == 1

    await deed(rig)

    assert await rig.client.list_executions(wanted) == []
    assert await broken(rig.db) == {}
    await rig.work(fail=["b"])
    assert len(await rig.client.list_executions(wanted)) == 1
    assert await broken(rig.db) == {}


@pytest.mark.parametrize(
    ("is_extended", "error"),
    [
        (True, StepError("TimedOut", "ran longer than 0.001 s")),
        (False, StepError("LeaseLost", 'the lease of "d" expired unreported')),
    ],
    ids=["by its time", "by its lease"],
)
async def test_what_dies_by_its_time_or_lease_is_found(
    rig: Rig, *, is_extended: bool, error: StepError
) -> None:
    await rig.start("x", CHAIN, retry=zart.Retry(max_attempts=1), timeout=0.001)
    leased = await rig.lease(lease_duration=60)
    if is_extended:
        await rig.client.extend_leases("d", [zart.Lease(t.task_id, t.lease_token) for t in leased])
    await rig.db.execute(  # a minute and a bit later
        "UPDATE zart.leases SET started_at = started_at - interval '61 s',"
        " lease_expires_at = lease_expires_at - interval '61 s'"
    )
    wanted = ExecutionFilter(step_pattern="a")

    async def is_found() -> bool:
        return bool(await rig.client.list_executions(wanted))

    await eventually(is_found)

    key = await rig.db.fetchrow("SELECT group_key FROM zart.dead_steps")
    assert key is not None
    assert key[0] == ErrorKind.of("t", "a", error, NEWEST).key
