"""Starts of large registered graphs share no transaction that takes long, however they are asked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from rig import Rig

import zart
from zart import errors
from zart.testing.server import ServerUnderTest
from zart_server.api.mutations import execution
from zart_server.api.mutations.batched import Batched
from zart_server.api.mutations.mutation import Call
from zart_server.store.caches.definitions import DefinitionCache


def wide(count: int) -> list[zart.StepSpec]:
    """Return so many steps that wait for nothing."""
    return [zart.StepSpec(f"s{n}") for n in range(count)]


def none_at_hand(_cache: DefinitionCache, _task_name: str) -> None:
    """Know no task's graph, as a server that has just begun."""


async def by_transaction(rig: Rig) -> list[int]:
    """Return how many executions each transaction has started."""
    rows = await rig.db.fetch("SELECT count(*) FROM zart.executions GROUP BY xmin::text ORDER BY 1")
    return [row[0] for row in rows]


def reasons(results: Sequence[object]) -> list[str]:
    """Return why each was refused, if it was."""
    return [each.reason if isinstance(each, errors.Refused) else "" for each in results]


async def test_a_start_weighs_what_its_task_has(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    weights: list[int] = []

    def weighed(batched: Batched, call: Call[Any]) -> None:
        weights.append(call.steps)
        add(batched, call)

    add = Batched.add
    monkeypatch.setattr(Batched, "add", weighed)
    await rig.client.register_task("t", wide(7))
    await rig.client.start("t")
    await rig.client.start("t", steps=wide(3))
    await rig.client.register_task("t", wide(5))
    await rig.client.start("t")
    monkeypatch.setattr(DefinitionCache, "last_current", none_at_hand)
    await rig.client.start("t")

    assert weights == [7, 3, 5, 1_000]


async def test_what_turns_out_to_be_large_is_started_alone(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How large it is is not known before: its graph has to be read."""
    monkeypatch.setattr(DefinitionCache, "last_current", none_at_hand)
    await rig.client.register_task("t", wide(4_000))
    await asyncio.gather(*(rig.client.start("t", execution_id=f"x-{n}") for n in range(5)))

    started = await by_transaction(rig)
    assert sum(started) == 5
    assert max(started) <= 2  # of 10,000 steps at most


async def test_a_call_starts_a_thousand_of_fifty_steps_and_none_more(rig: Rig) -> None:
    await rig.client.register_task("t", wide(50))
    await rig.client.register_task("larger", wide(51))
    starts = [zart.Start("t") for _ in range(999)]
    *started, refused = await rig.client.batch_start_executions([*starts, zart.Start("larger")])

    assert reasons(started) == [""] * 999
    assert await by_transaction(rig) == [999]
    assert isinstance(refused, errors.TooManyItems)
    assert refused.metadata == {"field": "steps", "count": "50001", "limit": "50000"}
    assert "ask for it in another call" in str(refused)


async def test_a_call_that_is_repeated_starts_what_was_beyond_that(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "_MOST_OF_BATCH", 50)
    await rig.client.register_task("large", wide(10))
    await rig.client.register_task("small", wide(1))
    tasks = ["small", *["large"] * 6, "small"]
    starts = [zart.Start(task, {}, f"x-{n}", if_exists="return") for n, task in enumerate(tasks)]
    first = await rig.client.batch_start_executions(starts, request_id="r")
    again = await rig.client.batch_start_executions(starts, request_id="r")

    assert reasons(first) == reasons(again) == [""] * 5 + ["TOO_MANY_ITEMS"] * 2 + [""]
    # What is there brings no steps any more.
    assert reasons(await rig.client.batch_start_executions(starts)) == [""] * 8
    assert await by_transaction(rig) == [2, 6]


async def test_an_id_that_a_call_names_again_needs_no_more_room(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But one of an unknown task begins nothing, and what has its id after it does."""
    monkeypatch.setattr(execution, "_MOST_OF_BATCH", 20)
    await rig.client.register_task("t", wide(10))
    named = [("t", "x"), ("t", "x"), ("unknown", "y"), ("t", "y"), ("t", "x"), ("t", "z")]
    starts = [zart.Start(task, {}, name, if_exists="return") for task, name in named]

    found = reasons(await rig.client.batch_start_executions(starts))
    assert found == ["", "", "EXECUTION_EXISTS", "", "", "TOO_MANY_ITEMS"]
    assert await by_transaction(rig) == [2]


async def test_of_a_start_beyond_that_nothing_is_kept(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "_MOST_OF_BATCH", 10)
    starts = [zart.Start("t", {}, "x", wide(6)), zart.Start("t", {}, "y", wide(5))]

    assert reasons(await rig.client.batch_start_executions(starts)) == ["", "TOO_MANY_ITEMS"]
    assert await rig.db.fetchval("SELECT count(*) FROM zart.definitions") == 1


async def test_a_client_asks_alone_for_what_was_too_much(
    rig: Rig, zart_server: ServerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its starts of one moment are one call, of which it has not told how large they are."""
    monkeypatch.setattr(execution, "_MOST_OF_BATCH", 10)
    await rig.client.register_task("t", wide(4))
    async with zart.connect(zart_server.address) as client:
        await asyncio.gather(*(client.start("t", execution_id=f"x-{n}") for n in range(6)))

    by_call = await rig.db.fetch(
        "SELECT count(*) FROM zart_operations WHERE kind = 'start' GROUP BY request_id ORDER BY 1"
    )
    assert [row[0] for row in by_call] == [1, 1, 1, 1, 2]
    assert await rig.db.fetchval("SELECT count(*) FROM zart.operation_attempts") == 0
