"""What takes long shares a turn with little: a transaction of many graphs keeps all its callers."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Sequence
from typing import Any, cast

import pytest
from api.test_batched import _counted, _Kept
from api.test_turns import MOST, Asked, Doing
from patient import patient_database
from rig import Rig
from standing_clock import StandingClock
from waiting import GIVE_UP

import zart
from zart.v1 import admin_service_pb2 as pb
from zart.v1.execution_service_pb2 import StartExecutionRequest
from zart.v1.task_definition_pb2 import StepSpec
from zart_server.api.mutations.admin import RERUN, RESTART
from zart_server.api.mutations.batched import Batched
from zart_server.api.mutations.execution import start_mutation
from zart_server.api.mutations.mutation import Call
from zart_server.api.mutations.mutations import Mutations
from zart_server.api.turns import Turns
from zart_server.aside import REQUEST_BYTES
from zart_server.domain.commands import Caller
from zart_server.engine.dispatch.waiting_room import WaitingRoom
from zart_server.store.db import Database


class Weighing(Doing):
    """Turns of names that have five letters together at most."""

    def __init__(self, clock: StandingClock) -> None:
        super().__init__(clock)
        self.turns = Turns[Asked](
            MOST, self._do, self._outliving, weigh=lambda asked: len(asked.name), heaviest=5
        )


def test_what_comes_at_once_is_together_up_to_a_weight() -> None:
    with contextlib.closing(StandingClock()) as clock:
        doing = Weighing(clock)
        doing.ask("aaa", "bbb", "cc", "ddddddddd", "e", "ff")

        for turn in range(4):
            doing.end(turn)
        # What is heavier than a turn has one of its own, and what is light does not wait for it.
        assert doing.begun == [["aaa", "cc"], ["bbb", "e"], ["ddddddddd"], ["ff"]]
        doing.end_all()


async def test_starts_of_large_graphs_share_no_transaction_that_takes_long() -> None:
    start = start_mutation(cast("Any", None), lambda _task_name: None)
    graph = [StepSpec(step_name=f"s{n}") for n in range(4_000)]
    command, _ = start.decode(StartExecutionRequest(task_name="t", steps=graph))
    begun: list[int] = []

    async def operate(
        _tx: object, wanted: Sequence[tuple[int, Caller]], *, wait: bool
    ) -> list[int | None]:
        assert not wait or len(wanted) == 1
        begun.append(len(wanted))
        return [number for number, _ in wanted]

    heavy = dataclasses.replace(_counted(operate), steps=lambda _number: start.steps(command))
    mutations = Mutations(cast("Database", _Kept()), GIVE_UP, WaitingRoom(1))
    await asyncio.gather(
        *(mutations.run(heavy, pb.RestartRequest(execution_id=str(n))) for n in range(5))
    )
    assert sum(begun) == 5
    assert max(begun) == 2  # of 10,000 steps at most


async def test_next_runs_of_large_graphs_share_no_transaction_that_takes_long(
    rig: Rig, zart_database: str
) -> None:
    """How large they are is known once their executions are locked."""
    names = [f"x-{n}" for n in range(3)]
    await rig.client.register_task("t", [zart.StepSpec(f"s{n}") for n in range(4_000)])
    await rig.client.batch_start_executions([zart.Start("t", {}, name) for name in names])
    db = await patient_database(zart_database)
    mutations = Mutations(db, GIVE_UP, WaitingRoom(1))
    await asyncio.gather(
        *(mutations.run(RESTART, pb.RestartRequest(execution_id=name)) for name in names)
    )
    reruns = [pb.RerunRequest(execution_id=name, force_rerun=["s0"]) for name in names]
    await asyncio.gather(*(mutations.run(RERUN, request) for request in reruns))
    await db.close()

    for kind in ("restart", "selective_rerun"):
        begun = await rig.db.fetch(
            "SELECT count(*) FROM zart.runs WHERE trigger = $1 GROUP BY xmin::text ORDER BY 1", kind
        )
        assert [row[0] for row in begun] == [1, 2]  # of 10,000 steps at most


async def test_large_calls_share_no_transaction_that_takes_long() -> None:
    begun: list[int] = []

    async def operate(
        _tx: object, wanted: Sequence[tuple[int, Caller]], *, wait: bool
    ) -> list[int | None]:
        assert not wait or len(wanted) == 1
        begun.append(len(wanted))
        return [number for number, _ in wanted]

    mutation = _counted(operate)
    mutations = Mutations(cast("Database", _Kept()), GIVE_UP, WaitingRoom(1))
    REQUEST_BYTES.set(3 * 1024 * 1024)
    await asyncio.gather(
        *(mutations.run(mutation, pb.RestartRequest(execution_id=str(n))) for n in range(5))
    )
    assert sum(begun) == 5
    assert max(begun) == 2  # of 8 MiB at most


async def test_a_call_weighs_what_it_was_sent_with(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def weighed(batched: Batched, call: Call[Any]) -> None:
        sizes.append(call.size)
        add(batched, call)

    add = Batched.add
    monkeypatch.setattr(Batched, "add", weighed)
    await rig.start("x", {"a": ()}, payload="p" * 1_000_000)
    await rig.client.restart("x", payload="p" * 2_000)

    assert [size // 1000 for size in sizes] == [1000, 2]
