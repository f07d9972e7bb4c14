"""Operations that come at once are done together, and each is by itself all the same."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

import pytest
from patient import patient_database
from rig import Rig
from standing_clock import StandingClock
from waiting import GIVE_UP, until

from zart import errors
from zart.v1 import admin_service_pb2 as pb
from zart_server.api.mutations import runner
from zart_server.api.mutations.admin import RESTART
from zart_server.api.mutations.mutation import Mutation
from zart_server.api.mutations.mutations import Mutations
from zart_server.domain.commands import Caller
from zart_server.domain.errors import StoreUnavailable
from zart_server.engine.dispatch.waiting_room import WaitingRoom

MANY = 30


async def runs_of(rig: Rig) -> list[int]:
    """Return how many runs each execution has."""
    rows = await rig.db.fetch("SELECT count(*) FROM zart.runs GROUP BY execution_key ORDER BY 1")
    return [row[0] for row in rows]


async def test_each_of_many_at_once_has_its_own_answer(rig: Rig) -> None:
    for n in range(MANY):
        await rig.start(f"x-{n}", {"a": ()})
    results = await asyncio.gather(
        *(rig.client.restart(f"x-{n}") for n in range(MANY)),
        rig.client.restart("nobody"),
        rig.client.restart("x-0", if_running="fail"),
        rig.client.restart("x-1", expected_run_number=7),
        return_exceptions=True,
    )

    assert [getattr(r, "new_run_number", None) for r in results[:MANY]] == [1] * MANY
    assert [type(r) for r in results[MANY:]] == [
        errors.ExecutionNotFound, errors.RunActive, errors.RunChanged,
    ]  # fmt: skip
    assert await runs_of(rig) == [2] * MANY


async def test_two_about_the_same_execution_follow_one_another(rig: Rig) -> None:
    await rig.start("x", {"a": ()})
    results = await asyncio.gather(*(rig.client.restart("x") for _ in range(MANY)))

    assert sorted(r.new_run_number for r in results) == list(range(1, MANY + 1))


async def test_repeats_within_a_batch_happen_once(rig: Rig) -> None:
    for n in range(5):
        await rig.start(f"x-{n}", {"a": ()})
    results = await asyncio.gather(
        *(rig.client.restart(f"x-{n % 5}", request_id=f"r-{n % 5}") for n in range(MANY))
    )

    assert {r.new_run_number for r in results} == {1}
    assert sum(r.replayed for r in results) == MANY - 5
    assert await runs_of(rig) == [2] * 5


async def test_a_repeat_of_what_was_refused_is_looked_at_anew(rig: Rig) -> None:
    await rig.start("other", {"a": ()})
    refused = await asyncio.gather(
        rig.client.restart("x", request_id="r"), rig.client.restart("other"), return_exceptions=True
    )
    await rig.start("x", {"a": ()})

    assert isinstance(refused[0], errors.ExecutionNotFound)
    assert (await rig.client.restart("x", request_id="r")).new_run_number == 1


async def test_an_execution_that_somebody_holds_holds_up_nobody_else(rig: Rig) -> None:
    for n in range(MANY):
        await rig.start(f"x-{n}", {"a": ()})
    async with rig.locked(
        "SELECT FROM zart.executions WHERE execution_id = 'x-3' FOR NO KEY UPDATE"
    ):
        calls = [asyncio.create_task(rig.client.restart(f"x-{n}")) for n in range(MANY)]
        done, waiting = await asyncio.wait(calls[:3] + calls[4:], timeout=GIVE_UP)
        assert len(done) == MANY - 1
        assert not waiting
        assert not calls[3].done()
    assert (await calls[3]).new_run_number == 1


async def test_single_starts_at_once_are_all_started(rig: Rig) -> None:
    results = await asyncio.gather(
        *(rig.start(f"x-{n % MANY}", {"a": ()}) for n in range(2 * MANY)), return_exceptions=True
    )

    assert sum(isinstance(r, str) for r in results) == MANY
    assert sum(isinstance(r, errors.ExecutionExists) for r in results) == MANY
    assert len(await rig.lease(1000)) == MANY


class _LostAtCommit:
    """A database whose connection is lost while a transaction commits."""

    @contextlib.asynccontextmanager
    async def transaction(self, **_begin: str) -> AsyncIterator[object]:
        yield object()
        raise StoreUnavailable


class _Kept:
    """A database that keeps nothing."""

    @contextlib.asynccontextmanager
    async def transaction(self, **_begin: str) -> AsyncIterator[object]:
        yield object()

    @contextlib.asynccontextmanager
    async def autocommit(self) -> AsyncIterator[_Kept]:
        yield self

    async def begin(self, _how: str) -> object:
        return object()


def _counted(operate: object) -> Mutation[pb.RestartRequest, int, int, pb.RestartResponse]:
    """Return a mutation of numbers."""
    return Mutation(
        response_type=pb.RestartResponse,
        decode=lambda request: (int(request.execution_id), Caller()),
        operate=cast("Any", operate),
        encode=lambda number: pb.RestartResponse(new_run_number=number),
        target=str,
    )


async def test_a_batch_that_may_have_committed_is_not_done_again() -> None:
    done: list[int] = []

    async def operate(
        _tx: object, wanted: Sequence[tuple[int, Caller]], *, wait: bool
    ) -> list[int | None]:
        assert not wait
        done.extend(number for number, _ in wanted)
        return [number for number, _ in wanted]

    mutation = _counted(operate)
    mutations = Mutations(cast("Any", _LostAtCommit()), 5.0, WaitingRoom(1))
    answers = await asyncio.gather(
        *(mutations.run(mutation, pb.RestartRequest(execution_id=str(n))) for n in range(5)),
        return_exceptions=True,
    )

    assert done == list(range(5))
    assert [type(answer) for answer in answers] == [StoreUnavailable] * 5


@pytest.mark.parametrize("fails", [1, 2])
async def test_a_batch_that_failed_is_done_one_by_one(rig: Rig, fails: int) -> None:
    """What PostgreSQL refuses of one operation refuses no other."""
    for n in range(5):
        await rig.start(f"x-{n}", {"a": ()})
    await rig.db.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.reason ="
        " 'bad' THEN RAISE EXCEPTION 'no'; END IF; RETURN NEW; END $$;"
        " CREATE TRIGGER refuse BEFORE INSERT ON zart.operations FOR EACH ROW"
        " EXECUTE FUNCTION refuse()"
    )
    results = await asyncio.gather(
        *(rig.client.restart(f"x-{n}", reason="bad" if n < fails else "good") for n in range(5)),
        return_exceptions=True,
    )

    assert [isinstance(r, Exception) for r in results] == [n < fails for n in range(5)]
    assert await runs_of(rig) == [1] * fails + [2] * (5 - fails)


async def test_calls_that_came_alone_and_wait_hold_up_nobody(rig: Rig) -> None:
    """One after the other, as many as there are workers: each waits for a lock by itself."""
    for name in ("x", "y", "z"):
        await rig.start(name, {"a": ()})
    held = "SELECT FROM zart.executions WHERE execution_id IN ('x', 'y') FOR UPDATE"
    async with rig.locked(held):
        waiting = []
        for number, name in enumerate(("x", "y"), 1):
            waiting.append(asyncio.create_task(rig.client.restart(name)))
            await rig.until_waiting(number)
        other = await asyncio.wait_for(rig.client.restart("z"), GIVE_UP)
        assert not any(task.done() for task in waiting)

    assert other.new_run_number == 1
    assert [done.new_run_number for done in await asyncio.gather(*waiting)] == [1, 1]


async def test_calls_that_come_fast_share_one_transaction_at_a_time(
    rig: Rig, zart_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that come one after the other while it is under way are the next one."""
    monkeypatch.setattr(runner, "_OF_MANY", "")  # they wait for as long as this test needs
    groups = [[f"x-{n}-{m}" for m in range(10)] for n in range(4)]
    for group in groups:
        await asyncio.gather(*(rig.start(name, {"a": ()}) for name in group))

    async def restart_all() -> None:
        db = await patient_database(zart_database, lock_timeout=GIVE_UP)
        mutations = Mutations(db, GIVE_UP, WaitingRoom(1))
        restarts = []
        async with db.transaction() as tx:
            await tx.execute("LOCK TABLE zart.operations IN EXCLUSIVE MODE")  # none of them ends
            for group in groups:
                requests = [pb.RestartRequest(execution_id=name) for name in group]
                restarts += [asyncio.create_task(mutations.run(RESTART, r)) for r in requests]
                await clock.at_rest()
                assert await tx.fetchval("SELECT 1") == 1
        assert [done.new_run_number for done in await asyncio.gather(*restarts)] == [1] * 40
        await db.close()

    with contextlib.closing(StandingClock()) as clock:
        await asyncio.to_thread(clock.run_until_complete, restart_all())
    restarted = await rig.db.fetch(
        "SELECT count(*) FROM zart.operations WHERE kind = 'restart' GROUP BY xmin::text ORDER BY 1"
    )
    assert [row[0] for row in restarted] == [10, 30]  # of each transaction


async def test_many_calls_in_one_transaction_that_hangs_hold_up_nobody() -> None:
    hanging: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    begun: list[int] = []

    async def operate(
        _tx: object, wanted: Sequence[tuple[int, Caller]], *, wait: bool
    ) -> list[int | None]:
        assert not wait
        begun.append(len(wanted))
        if 0 in [number for number, _ in wanted]:
            await hanging
        return [number for number, _ in wanted]

    mutation = _counted(operate)
    mutations = Mutations(cast("Any", _Kept()), GIVE_UP, WaitingRoom(1))

    def asked(first: int) -> list[asyncio.Task[pb.RestartResponse]]:
        requests = [pb.RestartRequest(execution_id=str(first + n)) for n in range(20)]
        return [asyncio.create_task(mutations.run(mutation, request)) for request in requests]

    held_up = asked(0)
    await until(lambda: begun == [20])
    for first in (20, 40, 60):
        await asyncio.wait_for(asyncio.gather(*asked(first)), GIVE_UP)
    assert not any(task.done() for task in held_up)
    hanging.set_result(None)
    await asyncio.gather(*held_up)


async def test_a_batch_that_one_statement_may_have_done_is_not_done_again() -> None:
    """What goes wrong once PostgreSQL has answered tells nothing of what was done."""
    done: list[int] = []

    async def fast(_connection: object, wanted: Sequence[int], _requests: object) -> None:
        done.extend(wanted)
        raise LookupError("a defect")

    async def operate(
        _tx: object, wanted: Sequence[tuple[int, Caller]], *, wait: bool
    ) -> list[int | None]:
        raise AssertionError(wanted, wait)

    mutation = dataclasses.replace(_counted(operate), fast=cast("Any", fast))
    mutations = Mutations(cast("Any", _Kept()), GIVE_UP, WaitingRoom(1))
    answers = await asyncio.gather(
        *(mutations.run(mutation, pb.RestartRequest(execution_id=str(n))) for n in range(5)),
        return_exceptions=True,
    )

    assert done == list(range(5))
    assert [type(answer) for answer in answers] == [LookupError] * 5
