"""CompareRuns tells two runs side by side."""

from __future__ import annotations

import secrets

import pytest
from rig import CHAIN, DIAMOND, Rig

import zart
from zart import errors
from zart.testing.server import ServerUnderTest

LARGE = 200_000


async def complete(rig: Rig, **results: str) -> None:
    """Complete what there is, with results by their exact text."""
    while found := await rig.lease():
        for task in found:
            text = results.get(task.step_name, "1")
            ending = zart.Completed(zart.JsonText(text))
            await rig.report(zart.Outcome(task.task_id, task.lease_token, ending))


async def test_a_rerun_beside_its_source(rig: Rig) -> None:
    await rig.start("x", DIAMOND, payload={"n": 1})
    await rig.complete(await rig.lease_one("a"))
    await rig.fail(await rig.lease_one("b"), retryable=True)
    await rig.fail(await rig.lease_one("b"), message="card" * 100)
    await complete(rig, c="[1, 2]")
    await rig.client.rerun("x", force_rerun=["c"])
    await complete(rig, b="2", c="[1,2.0]", d="3")

    found = await rig.client.compare_runs("x", 0, 1)
    assert (found.base.run_id, found.compared.run_id) == ("x:run:0", "x:run:1")
    assert (found.base.status, found.compared.status) == ("FAILED", "COMPLETED")
    assert found.payload_equal
    assert found.compared.payload is None
    steps = {step.step_name: step for step in found.steps}
    assert list(steps) == ["a", "b", "c", "d"]
    assert [(s.preserved, s.result_equal) for s in found.steps] == [
        (True, True),
        (False, None),
        (False, True),
        (False, None),
    ]
    before, after = steps["b"].base, steps["b"].compared
    assert before is not None
    assert after is not None
    assert (before.status, before.attempts, after.status, after.attempts) == (
        "DEAD", 2, "COMPLETED", 1,
    )  # fmt: skip
    assert before.error == zart.models.StepError("Broken", ("card" * 100)[:200], "")
    assert before.duration is not None
    assert after.error is None
    pending = steps["d"].base
    assert pending is not None
    assert (pending.status, pending.attempts, pending.duration) == ("PENDING", 0, None)


async def test_another_graph_another_payload_other_results(rig: Rig) -> None:
    rig.registers = True
    await rig.start("x", CHAIN, payload={"n": 1})
    await complete(rig, a='{"k": 1, "l": [true]}')
    await rig.start("y", {"b": (), "a": ("b",), "z": ("a",)})
    await rig.client.restart("x", payload={"n": 2})
    await rig.work(task="t", fail=["z"])

    found = await rig.client.compare_runs("x")
    assert not found.payload_equal
    assert [(s.step_name, s.base is None, s.compared is None) for s in found.steps] == [
        ("b", False, False),
        ("a", False, False),
        ("z", True, False),
        ("c", False, True),
    ]
    assert [s.result_equal for s in found.steps] == [False, False, None, None]
    assert await rig.client.compare_runs("x", 0) == await rig.client.compare_runs("x", 0, 1)
    backwards = await rig.client.compare_runs("x", 1, 0)
    assert [s.step_name for s in backwards.steps] == ["a", "b", "c", "z"]


async def test_results_of_any_size_are_compared_as_json(rig: Rig) -> None:
    graph = {f"s{n}": () for n in range(30)}
    text = '"' + "x" * LARGE + '"'
    await rig.start("x", graph)
    await complete(rig, **dict.fromkeys(graph, f"[{text}, 1]"))
    await rig.client.restart("x")
    other = dict.fromkeys(graph, f"[{text},1.0]")
    await complete(rig, **other | {"s7": f"[{text},2]"})

    found = await rig.client.compare_runs("x", 0, 1)
    assert {s.step_name for s in found.steps if not s.result_equal} == {"s7"}


async def test_what_is_too_much_to_compare_is_left_open(rig: Rig) -> None:
    graph = {f"s{n:02}": () for n in range(50)}
    text = '"' + "x" * 500_000 + '"'
    await rig.start("x", graph)
    await complete(rig, **dict.fromkeys(graph, f"[{text}, 1]"))
    await rig.client.restart("x")
    await complete(rig, **dict.fromkeys(graph, f"[{text},1]"))

    equal = [s.result_equal for s in (await rig.client.compare_runs("x")).steps]
    assert equal == [True] * 33 + [None] * 17


async def test_the_shorter_results_are_compared_first_and_not_all_of_large_ones(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How much a text is that takes little room where it is stored counts, not the room."""
    monkeypatch.setattr("zart_server.store.reads.compared_runs._COMPARED_BYTES", 10 * LARGE)
    graph = {f"s{n:02}": () for n in range(9)}
    packed, text = f'"{"x" * LARGE}"', f'"{secrets.token_hex(LARGE // 2)}"'
    results = dict.fromkeys(graph, packed) | dict.fromkeys(["s00", "s01"], text) | {"s08": "1"}
    await rig.start("x", graph)
    await complete(rig, **results)
    await rig.client.restart("x")
    await complete(rig, **results)

    equal = [s.result_equal for s in (await rig.client.compare_runs("x")).steps]
    assert equal == [None] * 2 + [True] * 5 + [None, True]
    await rig.client.rerun("x", force_rerun=["s08"], include_downstream=False)
    await complete(rig, s08="2")
    equal = [s.result_equal for s in (await rig.client.compare_runs("x")).steps]
    assert equal == [True] * 8 + [False]  # what was kept is not compared


async def test_runs_that_are_not_there(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    with pytest.raises(errors.ExecutionNotFound):
        await rig.client.compare_runs("y")
    with pytest.raises(errors.InvalidField, match="base_run_number"):
        await rig.client.compare_runs("x")
    with pytest.raises(errors.RunNotFound):
        await rig.client.compare_runs("x", 0, 1)
    with pytest.raises(errors.RunNotFound):
        await rig.client.compare_runs("x", 1, 0)
    same = await rig.client.compare_runs("x", 0, 0)
    assert same.payload_equal
    assert [s.base for s in same.steps] == [s.compared for s in same.steps]


async def test_runs_at_work_show_what_is_leased_and_withheld(rig: Rig) -> None:
    await rig.start("x", {"a": (), "b": (), "c": ("a",)})
    await rig.lease_one("a")
    await rig.client.pause(execution_id="x", step_pattern="b")
    await rig.client.restart("x")
    found = await rig.client.compare_runs("x")
    sides = [
        (s.base.status.value, s.compared.status.value)
        for s in found.steps
        if s.base is not None and s.compared is not None
    ]
    assert sides == [("CANCELLED", "SCHEDULED"), ("CANCELLED", "PAUSED"), ("CANCELLED", "PENDING")]


def test_the_same_without_asyncio(zart_server: ServerUnderTest) -> None:
    with zart.connect_sync(zart_server.address) as client:
        client.start("t", execution_id="x", steps=[zart.StepSpec("a")])
        client.restart("x")
        assert client.compare_runs("x", 0, 1).payload_equal
