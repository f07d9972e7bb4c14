"""ExecutionService: start, batch, read, list, watch."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rig import CHAIN, Rig, specs
from waiting import GIVE_UP, until

import zart
from zart import errors
from zart.models import DeadStep, StepError
from zart_server.api import encode
from zart_server.domain import model
from zart_server.domain.waiting import waiting_for_rule
from zart_server.store.reads import dead_steps


async def test_the_server_makes_an_id_where_none_is_given(rig: Rig) -> None:
    one = await rig.client.start("t", steps=[zart.StepSpec("a")])
    two = await rig.client.start("t", steps=[zart.StepSpec("a")])
    assert one.execution_id
    assert one.execution_id != two.execution_id


async def test_if_exists(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    steps = specs(CHAIN)
    with pytest.raises(errors.ExecutionExists):
        await rig.client.start("t", execution_id="x", steps=steps)
    found = await rig.client.start("t", execution_id="x", steps=steps, if_exists="return")
    assert found.execution is not None
    assert found.execution.created_at is not None
    with pytest.raises(errors.ExecutionExists):
        await rig.client.start("other", execution_id="x", steps=steps, if_exists="return")
    assert len(await rig.client.list_operations()) == 1


async def test_a_batch_stands_or_falls_item_by_item(rig: Rig) -> None:
    await rig.start("taken", CHAIN)
    steps = [zart.StepSpec("a")]
    results = await rig.client.batch_start_executions(
        [
            zart.Start("t", {"n": 1}, "one", steps),
            zart.Start("nobody-registered-this", None, "two"),
            zart.Start("t", None, "taken", steps),
            zart.Start("t", None, "bad\x00id", steps),
            zart.Start("t", None, "one", steps),
            zart.Start("t", None, "three", steps),
        ]
    )
    kinds = [type(r).__name__ for r in results]
    assert kinds == [
        "Execution",
        "TaskDefinitionNotFound",
        "ExecutionExists",
        "InvalidField",
        "ExecutionExists",
        "Execution",
    ]
    assert sorted(e.execution_id for e in await rig.client.list_executions()) == [
        "one",
        "taken",
        "three",
    ]


async def test_a_registered_definition_is_used_and_counts_versions(rig: Rig) -> None:
    one, two = [zart.StepSpec("a")], [zart.StepSpec("a"), zart.StepSpec("b", ("a",))]
    assert (await rig.client.register_task("reg", one)).version == 1
    assert (await rig.client.register_task("reg", two)).version == 2
    assert (await rig.client.register_task("reg", one)).version == 1
    await rig.client.start("reg", execution_id="x")

    definition = await rig.client.get_task_definition("reg")
    assert definition.version == 1
    assert [s.step_name for s in definition.steps] == ["a"]
    assert len((await rig.client.get_task_definition("reg", version=2)).steps) == 2
    assert [d.task_name for d in await rig.client.list_task_definitions()] == ["reg"]
    with pytest.raises(errors.TaskDefinitionNotFound):
        await rig.client.get_task_definition("reg", version=9)
    with pytest.raises(errors.TaskDefinitionNotFound):
        await rig.client.start("unknown")


@pytest.mark.parametrize(
    "text",
    [
        "null",
        "[]",
        "0",
        '""',
        "false",
        "-0.0",
        "1e-300",
        "9007199254740993",
        "123456789012345678901234567890",
        '{"a":{"b":[1,2,{"c":null}]},"ü":"\\ud83d\\ude00","k":1.5}',
        '"' + "x" * 100_000 + '"',
    ],
)
async def test_json_comes_back_equal(rig: Rig, text: str) -> None:
    value = json.loads(text)
    await rig.start("x", {"a": ()}, payload=value)
    (task,) = await rig.lease()
    await rig.complete(task, result=value if value is not None else [None])
    run = (await rig.client.get_execution("x")).run

    assert task.payload == run.payload == value
    assert repr(run.payload) == repr(value)
    assert run.result == (value if value is not None else [None])


async def test_no_payload_is_null_to_the_handler(rig: Rig) -> None:
    await rig.client.start("t", execution_id="x", steps=[zart.StepSpec("a")])
    assert (await rig.lease())[0].payload is None


async def test_lists_are_newest_first_and_paged_without_gap_or_repeat(rig: Rig) -> None:
    names = [f"e{n:02}" for n in range(23)]
    for name in names:
        await rig.start(name, {"a": ()})
    pages = [p async for p in rig.client.list_executions(page_size=5).pages()]

    assert [len(p.items) for p in pages] == [5, 5, 5, 5, 3]
    assert [e.execution_id for p in pages for e in p.items] == names[::-1]


async def test_list_filters(rig: Rig) -> None:
    await rig.start("done", {"a": ()}, task="t")
    await rig.work()
    await rig.dead("failed", {"a": (), "b": ("a",)}, step="a")
    await rig.start("half", {"a": (), "b": ()}, task="t")
    await rig.fail(await rig.lease_one("a", "half"))
    await rig.start("fresh", {"a": ()}, task="u")

    async def ids(**options: object) -> set[str]:
        return {e.execution_id for e in await rig.client.list_executions(**options)}  # type: ignore[arg-type]

    assert await ids(task_name="u") == {"fresh"}
    assert await ids(statuses=["completed"]) == {"done"}
    assert await ids(statuses=["failed", "scheduled"]) == {"failed", "fresh"}
    assert await ids(step_statuses=["dead"]) == {"failed", "half"}
    assert await ids(statuses=["running"], step_statuses=["dead"]) == {"half"}
    assert await ids(step_statuses=["pending"]) == {"failed"}
    now = datetime.now(UTC)
    assert await ids(created_before=now - timedelta(hours=1)) == set()
    assert len(await ids(created_after=now - timedelta(hours=1))) == 4


@pytest.mark.parametrize("status", ["paused", "running", "scheduled"])
async def test_list_by_the_status_of_ready_steps(rig: Rig, status: str) -> None:
    await rig.client.pause(execution_id="paused")
    for name in ("paused", "running", "scheduled"):
        await rig.start(name, {"a": ()})
    await rig.client.cancel_execution("scheduled")
    await rig.client.restart("scheduled")
    tasks = await rig.lease()
    others = [t for t in tasks if t.execution_id != "running"]
    await rig.report(*(zart.Outcome(t.task_id, t.lease_token, zart.Released()) for t in others))

    found = await rig.client.list_executions(step_statuses=[status])
    assert [e.execution_id for e in found] == [status]


async def test_what_each_waits_for_is_told(rig: Rig) -> None:
    await rig.start("x", {"a": (), "b": (), "c": ("a", "b")})
    state = await rig.client.get_execution("x")
    assert state.step("c").waiting_on == "steps a, b"
    assert state.step("a").waiting_on == "a dispatcher: none has ever asked for t"
    assert state.execution.waiting_on
    await rig.client.pause(execution_id="x", reason="x")
    (listed,) = await rig.client.list_executions()
    assert listed.waiting_on.startswith("a: pause rule pr-")


async def test_dead_steps_are_told_in_lists(rig: Rig) -> None:
    await rig.start("many", dict.fromkeys(("a", "b", "c", "d", "e"), ()))
    for task in await rig.lease():
        if task.step_name == "a":
            await rig.complete(task)
        else:
            await rig.fail(task, message=f"{task.step_name} " + "x" * 2000)
    await rig.start("retried", {"a": ()})
    await rig.fail(await rig.lease_one("a", "retried"), retryable=True, message="at first")
    await rig.fail(await rig.lease_one("a", "retried"), message="at last")
    await rig.start("revived", {"a": ()})
    await rig.fail(await rig.lease_one("a", "revived"))
    await rig.client.retry_step("revived", "a")

    listed = {e.execution_id: e.dead_steps async for e in rig.client.list_executions()}

    assert listed["revived"] == ()
    assert listed["retried"] == (DeadStep("a", StepError("Broken", "at last", "")),)
    assert [step.step_name for step in listed["many"]] == ["b", "c", "d"]
    assert all(s.error and len(s.error.message) == 500 for s in listed["many"])


async def test_get_execution_of_an_earlier_run(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    await rig.client.restart("x")
    assert await rig.statuses(run_number=0) == dict.fromkeys("abc", "CANCELLED")
    with pytest.raises(errors.RunNotFound):
        await rig.client.get_execution("x", run_number=2)


async def test_results_past_the_limit_are_left_out_but_get_step_has_them(rig: Rig) -> None:
    big = "x" * 900_000
    await rig.start("x", {f"n{n}": () for n in range(6)})
    for task in await rig.lease():
        await rig.complete(task, result=big)
    state = await rig.client.get_execution("x")

    assert sum(s.result_omitted for s in state.steps) == 2
    assert all((s.result is None) == s.result_omitted for s in state.steps)
    omitted = next(s for s in state.steps if s.result_omitted)
    assert (await rig.client.get_step("x", omitted.step_name)).result == big


async def test_a_watch_gives_the_whole_state_and_then_what_changed(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    seen: list[tuple[str, dict[str, str]]] = []

    async def watch() -> None:
        async for state in rig.client.watch_execution("x"):
            seen.append(
                (state.run.status.value, {s.step_name: s.status.value for s in state.steps})
            )

    watching = asyncio.create_task(watch())
    await until(lambda: seen)
    await rig.complete(await rig.lease_one("a"))
    await until(lambda: len(seen) > 1 and seen[-1][1].get("a") == "COMPLETED")
    await rig.work()
    await asyncio.wait_for(watching, GIVE_UP)

    assert seen[0] == ("SCHEDULED", {"a": "SCHEDULED", "b": "PENDING", "c": "PENDING"})
    assert seen[-1][0] == "COMPLETED"
    final: dict[str, str] = {}
    for _, steps in seen:
        final |= steps
    assert final == dict.fromkeys("abc", "COMPLETED")
    assert any(len(steps) < 3 for _, steps in seen[1:])


async def test_a_watch_follows_across_a_restart_unless_it_names_a_run(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    follower: list[tuple[int, str]] = []
    named: list[tuple[int, str]] = []

    async def watch(seen: list[tuple[int, str]], **options: Any) -> None:
        async for state in rig.client.watch_execution("x", **options):
            seen.append((state.run.run_number, state.run.status.value))

    following = asyncio.create_task(watch(follower))
    watching = asyncio.create_task(watch(named, run_number=0))
    await until(lambda: follower and named)
    await rig.client.restart("x")
    await asyncio.wait_for(watching, GIVE_UP)
    assert named[-1] == (0, "CANCELLED")
    assert not following.done()
    await rig.work()
    await asyncio.wait_for(following, GIVE_UP)
    assert follower[-1] == (1, "COMPLETED")


async def test_result_raises_where_the_run_did_not_complete(rig: Rig) -> None:
    await rig.dead(step="b")
    with pytest.raises(zart.RunFailed) as failed:
        await rig.client.handle("x").result()
    assert failed.value.run.error == "b: no"
    await rig.start("slow", CHAIN)
    with pytest.raises(TimeoutError):
        await rig.client.handle("slow").result(timeout=0.2)


def test_the_largest_page_of_a_list_fits_into_a_message() -> None:
    wide = "\U0001f4a5"  # four bytes
    error = model.StepError(wide * dead_steps.TYPE, wide * dead_steps.MESSAGE)
    largest = model.Execution(
        "x" * 255, "t" * 255, 2**31 - 1, model.RunStatus.FAILED, datetime.now(UTC),
        f"{'s' * 255}: {waiting_for_rule('pr-abcd1234', 'b' * 1000, 'r' * 1000)}",
        (model.DeadStep("s" * 255, error),) * dead_steps.MOST,
    )  # fmt: skip
    assert encode.execution(largest).ByteSize() * 1000 < 15 * 1024 * 1024
