"""Which kept results are told as made with another payload, however many reruns have kept them."""

from __future__ import annotations

from typing import Any

import pytest
from rig import Rig

import zart
from zart.models import Rerun

GRAPH = {"a": (), "b": (), "c": ()}
LONG = ["x" * 100_000]


def outdated(answer: Rerun) -> set[str]:
    """Return the steps that are told as made with another payload."""
    return {stale.preserved_step for stale in answer.potentially_stale if stale.depends_on_payload}


async def planned(rig: Rig, **options: Any) -> set[str]:
    """Return those of a rerun of c that keeps the others."""
    plan = await rig.client.rerun(
        "x", force_rerun=["c"], preserve=["a", "b"], validate_only=True, **options
    )
    assert plan.preserved == ("a", "b")
    return outdated(plan)


async def test_a_rerun_of_a_rerun_that_changed_the_payload_tells_so_too(rig: Rig) -> None:
    await rig.start("x", GRAPH, payload={"n": 1})
    await rig.work()
    assert outdated(await rig.client.rerun("x", payload={"n": 2}, preserve=["a"])) == {"a"}
    await rig.work(fail=["c"])
    again = await rig.client.rerun("x")
    assert again.effective_rerun == ("c",)
    assert outdated(again) == {"a"}  # b was made with this payload

    await rig.work()
    assert await planned(rig) == {"a"}
    assert await planned(rig, payload={"n": 2}) == {"a"}
    assert await planned(rig, payload=zart.JsonText('{"n": 1.0}')) == {"b"}
    assert await planned(rig, payload={"n": 3}) == {"a", "b"}


async def test_a_payload_that_says_the_same_again_outdates_nothing(rig: Rig) -> None:
    await rig.start("x", GRAPH, payload={"n": 1})
    await rig.work()
    await rig.client.rerun("x", payload=2, preserve=["a", "b"])
    await rig.work()
    await rig.client.rerun("x", payload=zart.JsonText('{ "n": 1.0 }'), preserve=["a", "b"])
    await rig.work()
    assert await planned(rig) == set()


@pytest.mark.parametrize("payload", [LONG, 1, None], ids=["long", "short", "none"])
async def test_nothing_is_read_where_the_payload_has_stayed(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, payload: Any
) -> None:
    await rig.start("x", GRAPH, payload=payload)
    await rig.work()
    for _ in range(2):
        await rig.client.rerun("x", force_rerun=["c"])
        await rig.work()
    monkeypatch.delattr("zart_server.engine.operations.corrections.read_large")
    assert await planned(rig) == set()


async def test_a_long_payload_that_was_changed_is_read(rig: Rig) -> None:
    await rig.start("x", GRAPH, payload=LONG)
    await rig.work()
    await rig.client.rerun("x", force_rerun=["b", "c"])
    await rig.work()
    await rig.client.rerun("x", payload=[*LONG, 1], preserve=["a", "b"])
    await rig.work()
    assert await planned(rig) == {"a", "b"}
    assert await planned(rig, payload=LONG) == set()


async def test_a_run_without_a_payload_has_another_than_one_with(rig: Rig) -> None:
    await rig.client.start("t", execution_id="x", steps=[zart.StepSpec(name) for name in GRAPH])
    await rig.work()
    await rig.client.rerun("x", payload=7, preserve=["a", "b"])
    await rig.work()
    assert await planned(rig) == {"a", "b"}
