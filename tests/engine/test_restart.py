"""Restart ends the current run and creates the next from scratch."""

from __future__ import annotations

import asyncio
import json
import random

import pytest
from rig import CHAIN, Rig

import zart
from zart import errors


async def test_an_unfinished_run_is_cancelled_and_its_steps_in_flight_are_named(rig: Rig) -> None:
    await rig.start("x", CHAIN, payload={"n": 1})
    task = await rig.lease_one("a")
    answer = await rig.client.restart("x", reason="stuck")

    assert (answer.new_run_id, answer.new_run_number) == ("x:run:1", 1)
    assert [(s.step_name, s.attempt, s.dispatcher_id) for s in answer.fenced_steps] == [
        ("a", 1, "d")
    ]
    assert await rig.run_status(run_number=0) == "CANCELLED"
    assert set((await rig.statuses(run_number=0)).values()) == {"CANCELLED"}
    old = await rig.client.get_step("x", "a", run_number=0)
    assert [a.status.value for a in old.attempts] == ["ABANDONED"]
    assert await rig.complete(task) == ["LEASE_LOST"]


async def test_a_stale_body_of_the_old_run_changes_nothing_of_the_new_one(rig: Rig) -> None:
    await rig.start("x", {"a": ()})
    old = await rig.lease_one("a")
    await rig.client.restart("x")
    new = await rig.lease_one("a")

    assert await rig.complete(old, result="zombie") == ["LEASE_LOST"]
    assert await rig.run_status() == "RUNNING"
    assert new.lease_token > old.lease_token
    assert await rig.complete(new, result="fresh") == ["RECORDED"]
    assert (await rig.client.get_execution("x")).run.result == "fresh"


async def test_the_payload_is_kept_or_replaced_null_included(rig: Rig) -> None:
    await rig.start("x", {"a": ()}, payload={"n": 2**60})
    await rig.client.restart("x")
    assert (await rig.client.get_execution("x")).run.payload == {"n": 2**60}
    await rig.client.restart("x", payload=None)
    assert (await rig.client.get_execution("x")).run.payload is None
    await rig.client.restart("x", payload=[1])
    assert (await rig.lease_one("a")).payload == [1]


async def test_a_finished_run_keeps_its_rows(rig: Rig) -> None:
    await rig.dead(step="b")
    before = await rig.client.get_execution("x")
    answer = await rig.client.restart("x")

    after = await rig.client.get_execution("x", run_number=0)
    assert answer.fenced_steps == ()
    assert (after.run, after.steps) == (before.run, before.steps)


async def test_it_takes_the_current_definition_and_inline_graphs_are_kept(rig: Rig) -> None:
    await rig.client.register_task("reg", [zart.StepSpec("a")])
    await rig.client.start("reg", execution_id="r")
    await rig.client.register_task("reg", [zart.StepSpec("a"), zart.StepSpec("b")])
    await rig.client.restart("r")
    state = await rig.client.get_execution("r")
    assert (state.run.definition_version, [s.step_name for s in state.steps]) == (2, ["a", "b"])

    await rig.client.start("reg", execution_id="i", steps=[zart.StepSpec("only")])
    await rig.client.restart("i")
    state = await rig.client.get_execution("i")
    assert (state.run.definition_version, [s.step_name for s in state.steps]) == (0, ["only"])


async def test_if_running_fail_refuses_an_unfinished_run_only(rig: Rig) -> None:
    await rig.start("x", {"a": ()})
    with pytest.raises(errors.RunActive):
        await rig.client.restart("x", if_running="fail")
    assert len(await rig.client.list_runs("x")) == 1

    await rig.work()
    assert (await rig.client.restart("x", if_running="fail")).new_run_number == 1


async def test_concurrent_restarts_all_succeed_one_after_the_other(rig: Rig) -> None:
    await rig.start("x", {"a": ()})
    answers = await asyncio.gather(*(rig.client.restart("x") for _ in range(10)))

    assert sorted(a.new_run_number for a in answers) == list(range(1, 11))
    runs = await rig.client.list_runs("x")
    assert [r.run_number for r in runs] == list(range(11))
    assert [r.status.value for r in runs] == ["CANCELLED"] * 10 + ["SCHEDULED"]
    assert len(await rig.lease()) == 1


async def test_expected_run_number_makes_one_of_them_win(rig: Rig) -> None:
    await rig.start("x", {"a": ()})
    answers = await asyncio.gather(
        *(rig.client.restart("x", expected_run_number=0) for _ in range(5)),
        return_exceptions=True,
    )

    changed = [a for a in answers if isinstance(a, errors.RunChanged)]
    assert len(changed) == 4
    assert changed[0].metadata["current_run_number"] == "1"
    assert len(await rig.client.list_runs("x")) == 2


async def test_restart_of_an_unknown_execution_creates_nothing(rig: Rig) -> None:
    with pytest.raises(errors.ExecutionNotFound):
        await rig.client.restart("nobody")
    with pytest.raises(errors.ExecutionNotFound):
        await rig.client.get_execution("nobody")


async def test_a_run_tells_who_made_it_and_why(rig: Rig) -> None:
    await rig.start("x", {"a": ()})
    await rig.client.restart("x", triggered_by="ops", reason="stuck\nreally")
    run = (await rig.client.list_runs("x"))[1]

    assert (run.trigger, run.triggered_by, run.reason) == ("RESTART", "ops", "stuck\nreally")
    assert run.payload is None


@pytest.mark.parametrize("size", [10, 100_000])
async def test_the_payload_stays_the_same_over_runs(rig: Rig, size: int) -> None:
    """A long one is not copied, and what refers to it does so directly."""
    payload = {"text": random.Random(size).randbytes(size).hex()}
    await rig.start("x", {"a": (), "b": ("a",)}, payload=payload)
    await rig.client.restart("x")
    await rig.complete(await rig.lease_one("a"))
    await rig.client.rerun("x", force_rerun=["b"])
    await rig.client.restart("x")

    assert (await rig.lease_one("a")).payload == payload
    for number in range(4):
        run = (await rig.client.get_execution("x", run_number=number)).run
        assert run.payload == payload
    texts = await rig.db.fetch("SELECT payload_json::text FROM zart_execution_runs")
    assert [json.loads(row[0]) for row in texts] == [payload] * 4
    stored = await rig.db.fetchval("SELECT count(payload) FROM zart.runs")
    assert stored == (4 if size == 10 else 1)

    await rig.client.restart("x", payload=None)
    assert (await rig.lease_one("a")).payload is None
    assert (await rig.client.get_execution("x")).run.payload is None
