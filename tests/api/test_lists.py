"""Lists say what reading everything would say, whatever the filter, page by page."""

from __future__ import annotations

import itertools
from collections.abc import Collection
from datetime import timedelta
from typing import Any

import pytest
from rig import CHAIN, Rig

import zart
from zart.models import ExecutionState

RUNS = tuple(status for status in zart.RunStatus if status != "UNSPECIFIED")
STEPS = tuple(status for status in zart.StepStatus if status != "UNSPECIFIED")


async def _some_of_everything(rig: Rig) -> None:
    for task in ("t", "u"):
        await rig.start(f"{task}-done", {"a": ()}, task=task)
        await rig.start(f"{task}-anew", {"a": ()}, task=task)
        await rig.start(f"{task}-again", CHAIN, task=task)
        await rig.work(task=task)
        await rig.client.rerun(f"{task}-again", force_rerun=["c"])
        await rig.client.pause(execution_id=f"{task}-held", reason="x")
        await rig.start(f"{task}-held", CHAIN, task=task)
        await rig.start(f"{task}-cancelled", CHAIN, task=task)
        await rig.client.cancel_execution(f"{task}-cancelled")
        await rig.start(f"{task}-failed", {"a": (), "b": ("a",), "c": ("b",)}, task=task)
        await rig.start(f"{task}-half", {"a": (), "b": (), "c": ("a", "b")}, task=task)
        for name in (f"{task}-failed", f"{task}-half"):
            await rig.fail(await rig.lease_one("a", name, task=task))
        await rig.start(f"{task}-begun", CHAIN, task=task)
        await rig.lease_one("a", f"{task}-begun", task=task, lease_duration=3600)
        await rig.start(f"{task}-fresh", CHAIN, task=task)
        await rig.client.restart(f"{task}-anew")


def _is_wanted(
    state: ExecutionState, task: str, runs: Collection[Any], steps: Collection[Any]
) -> bool:
    return (
        task in ("", state.execution.task_name)
        and (not runs or state.execution.status in runs)
        and (not steps or any(step.status in steps for step in state.steps))
    )


async def test_each_filter_finds_what_is_there(rig: Rig) -> None:
    await _some_of_everything(rig)
    everything = [
        await rig.client.get_execution(e.execution_id) for e in await rig.client.list_executions()
    ]
    assert len(everything) == 18
    assert {state.execution.status for state in everything} == set(RUNS)
    assert {step.status for state in everything for step in state.steps} == set(STEPS)
    ones = [(), *((one,) for one in RUNS)], [(), *((one,) for one in STEPS)]
    filters = [
        *itertools.product(("", "u"), *ones),
        *(("", (), pair) for pair in itertools.combinations(STEPS, 2)),
        *(("t", pair, ()) for pair in itertools.combinations(RUNS, 2)),
    ]
    for task, runs, steps in filters:
        found = rig.client.list_executions(
            task_name=task, statuses=runs, step_statuses=steps, page_size=3
        )
        assert [e.execution_id async for e in found] == [
            s.execution.execution_id for s in everything if _is_wanted(s, task, runs, steps)
        ], (task, runs, steps)


@pytest.mark.parametrize("statuses", [[], ["scheduled"], ["scheduled", "completed"]])
async def test_times_are_exact(rig: Rig, statuses: list[str]) -> None:
    for n in range(5):
        await rig.start(f"x-{n}", {"a": ()})
    all_of_them = list(await rig.client.list_executions())
    third = all_of_them[2].created_at
    assert third is not None
    tick = timedelta(microseconds=1)

    async def ids(**times: Any) -> list[str]:
        found = rig.client.list_executions(statuses=statuses, page_size=2, **times)
        return [e.execution_id async for e in found]

    assert await ids(created_after=third) == ["x-4", "x-3", "x-2"]
    assert await ids(created_after=third + tick) == ["x-4", "x-3"]
    assert await ids(created_before=third) == ["x-1", "x-0"]
    assert await ids(created_before=third + tick, created_after=third) == ["x-2"]


async def test_a_page_ends_where_it_has_looked_at_enough(rig: Rig) -> None:
    """3,000 executions that nothing tells from the first one but their steps."""
    for name in ("first", "other"):
        await rig.start(name, {"a": (), "b": ()})
    await rig.fail(await rig.lease_one("a", "first"))
    await rig.client.cancel_execution("other")
    await rig.db.execute("""
        INSERT INTO zart.executions (execution_id, task_name)
        SELECT 'later-' || n, 't' FROM generate_series(1, 3000) n
    """)
    await rig.db.execute("""
        INSERT INTO zart.runs (execution_key, listed_task, listed_at, run_number, definition_key,
            status,
            "trigger", triggered_by, reason, error, created_at, completed_at)
        SELECT e.execution_key, 't', e.created_at, 0, definition_key, r.status, "trigger",
            triggered_by, reason, error, r.created_at, completed_at
        FROM zart.executions e, zart.runs r
        WHERE e.execution_id LIKE 'later-%' AND r.status = 'cancelled'
    """)
    found = rig.client.list_executions(
        step_statuses=["completed", "dead"], statuses=["running", "cancelled"]
    )
    pages = [page async for page in found.pages()]

    assert [e.execution_id for page in pages for e in page.items] == ["first"]
    assert 3 <= len(pages) <= 5
    assert not pages[0].items


async def test_operations_and_rules_of_each_filter(rig: Rig) -> None:
    for n in range(4):
        await rig.start(f"x-{n}", {"a": ()})
        await rig.client.restart(f"x-{n}")
        await rig.client.restart(f"x-{n}")
        await rig.client.cancel_execution(f"x-{n}")
        await rig.client.pause(execution_id=f"x-{n}", task_name="t", reason="1")
        await rig.client.pause(task_name="t", step_pattern="a*", reason="2")
    for rule in await rig.client.list_pause_rules():
        await rig.client.wait_drained(rule.rule_id)
    await rig.client.resume(execution_id="x-1")
    operations = list(await rig.client.list_operations())
    kinds = {o.kind for o in operations}
    assert len(kinds) == 6
    for id_, kind in itertools.product(("", "x-1", "x-3"), (None, *sorted(kinds))):
        wanted = rig.client.list_operations(execution_id=id_, kind=kind, page_size=3)
        assert [o.operation_id async for o in wanted] == [
            o.operation_id
            for o in operations
            if id_ in ("", o.execution_id) and kind in (None, o.kind)
        ]
    rules = list(await rig.client.list_pause_rules(include_deleted=True))
    assert len(rules) == 8
    for scope in itertools.product((None, "x-1", "x-2"), (None, "t"), (None, "a*"), (True, False)):
        names = ("execution_id", "task_name", "step_pattern", "include_deleted")
        fields: dict[str, Any] = {n: v for n, v in zip(names, scope, strict=True) if v is not None}
        listed = rig.client.list_pause_rules(page_size=3, **fields)
        assert [r.rule_id async for r in listed] == [
            r.rule_id
            for r in rules
            if all(getattr(r, n) == fields[n] for n in names[:3] if n in fields)
            and (scope[3] or r.status == "ACTIVE")
        ], scope
