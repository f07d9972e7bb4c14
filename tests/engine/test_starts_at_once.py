"""Executions started by one statement: each by itself, whatever the statement leaves out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta

import grpc
import pytest
from patient import patient_database
from rig import Rig, specs
from waiting import GIVE_UP

from zart.v1 import execution_service_pb2 as pb
from zart.v1.execution_service_pb2_grpc import ExecutionServiceStub
from zart_server.domain.commands import Caller, StartExecution
from zart_server.domain.dispatch import LeaseTasks
from zart_server.domain.model import Execution, IfExists
from zart_server.engine.dispatch.long_polls import LongPolls
from zart_server.engine.operations.requests import Answered, RequestKey
from zart_server.engine.operations.start import start_executions
from zart_server.engine.operations.start_fast import start_executions_fast
from zart_server.store.db import Database
from zart_server.store.pausing.judging import refresh_rules

GRAPH = {"a": (), "b": (), "c": ("a", "b")}  # of two roots
CALLER = Caller("tester")
ASKING = LeaseTasks("d", ("t",), (), 3, timedelta(0), timedelta(seconds=30))


@pytest.fixture
async def store(zart_database: str, rig: Rig) -> AsyncIterator[Database]:
    """A database with the task t, whose graph is at hand, and an execution x2."""
    await rig.client.register_task("t", specs(GRAPH))
    opened = await patient_database(zart_database)
    async with opened.transaction() as tx:
        await start_executions(tx, [start("x2")])
    yield opened
    await opened.close()


def start(execution_id: str, task_name: str = "t") -> StartExecution:
    return StartExecution(execution_id, task_name, '"p"', None, IfExists.FAIL, CALLER)


def answer(number: int, execution: Execution) -> Answered | None:
    """Return the answer to a request of every other command."""
    key = RequestKey("", "StartExecution", execution.execution_id)
    return Answered(key, b"f", execution.execution_id.encode(), False) if number % 2 else None


async def test_what_is_left_out_shifts_neither_rules_nor_leases(rig: Rig, store: Database) -> None:
    """Its roots were judged, and calls reserved for them, with those of the others."""
    await rig.client.pause(execution_id="x3", step_pattern="b")
    names = ["x5", "x3", "x2", "x1", "x4"]
    long_polls = LongPolls()
    with ExitStack() as until_asked:
        asking = [until_asked.enter_context(long_polls.register(ASKING)) for _ in range(2)]
        waiting = [asyncio.create_task(poll.wait(GIVE_UP)) for poll in asking]
        async with store.autocommit() as connection:
            await refresh_rules(connection)
            found = await start_executions_fast(
                connection, [start(name) for name in names], answer, long_polls
            )

        assert found is not None
        told = [each and (each.execution_id, each.task_name) for each in found]
        assert told == [("x5", "t"), ("x3", "t"), None, ("x1", "t"), ("x4", "t")]
        assert await asyncio.gather(*waiting) == [True, True]
        leased = {
            (task.execution_id, task.step.step_name)
            for poll in asking
            for task in poll.delivered or ()
        }
    rows = await rig.db.fetch(
        "SELECT execution_id, step_name, status FROM zart_steps ORDER BY 1, 2"
    )
    for name in ("x1", "x3", "x4", "x5"):
        found_of = {row["step_name"]: row["status"] for row in rows if row["execution_id"] == name}
        assert found_of == {
            root: "paused"
            if (name, root) == ("x3", "b")
            else "running"
            if (name, root) in leased
            else "scheduled"
            for root in ("a", "b")
        } | {"c": "pending"}
    assert len(leased) == 4  # x1 whole, one root that x2 would have had is nobody's, and x3's a
    assert await rig.db.fetchval(
        "SELECT bool_and((status = 'running') = EXISTS (SELECT FROM zart.leases l"
        " WHERE l.run_key = r.run_key)) FROM zart.runs r"
    )
    requests = await rig.db.fetch(
        "SELECT request_id, response FROM zart.requests WHERE rpc = 'StartExecution' ORDER BY 1"
    )
    assert [tuple(row) for row in requests] == [("x1", b"x1"), ("x3", b"x3")]


async def test_what_needs_a_transaction_leaves_all_to_it(rig: Rig, store: Database) -> None:
    long_polls = LongPolls()
    for others in (["x", "x"], [f"x-{n}" for n in range(51)]):  # one twice; too many
        async with store.autocommit() as connection:
            starts = [start(name) for name in others]
            assert await start_executions_fast(connection, starts, answer, long_polls) is None
    async with store.autocommit() as connection:
        starts = [start("x"), start("y", "unknown")]
        assert await start_executions_fast(connection, starts, answer, long_polls) is None
    assert await rig.db.fetchval("SELECT count(*) FROM zart.executions") == 1


async def test_a_request_that_was_answered_and_a_graph_that_is_not_current_are_left_out(
    rig: Rig, store: Database
) -> None:
    long_polls = LongPolls()
    async with store.autocommit() as connection:
        await start_executions_fast(connection, [start("w"), start("x")], answer, long_polls)
        await rig.db.execute(
            "SET zart.purge = 'on'; DELETE FROM zart.executions WHERE execution_id = 'x'"
        )
        again = await start_executions_fast(
            connection, [start("v"), start("x")], answer, long_polls
        )
    assert again is not None
    assert [each is None for each in again] == [False, True]

    await rig.client.register_task("t", specs({"other": ()}))
    async with store.autocommit() as connection:
        starts = [start("y"), start("z")]
        assert await start_executions_fast(connection, starts, answer, long_polls) == [None, None]


async def test_starts_that_come_at_once_are_answered_each_by_its_own(rig: Rig) -> None:
    await rig.client.register_task("t", specs(GRAPH))
    await rig.start("taken", {"a": ()}, task="other")
    stub = ExecutionServiceStub(rig.client.channel)
    ids = ["taken", *(f"x{n}" for n in range(20)), "x7", "x8"]
    requests = [
        pb.StartExecutionRequest(execution_id=name, task_name="t", request_id=f"r-{name}")
        for name in ids
    ] + [pb.StartExecutionRequest(task_name="unknown")]

    async def begun(request: pb.StartExecutionRequest) -> object:
        try:
            response = await stub.StartExecution(request)
        except grpc.aio.AioRpcError as error:
            return error.code()
        return response.execution.execution_id, response.execution.HasField("created_at")

    for _ in range(2):  # the second time each is a repeat
        answers = await asyncio.gather(*map(begun, requests))
        assert answers[0] is grpc.StatusCode.ALREADY_EXISTS
        assert answers[1:-1] == [(name, True) for name in ids[1:]]
        assert answers[-1] is grpc.StatusCode.NOT_FOUND
    assert await rig.db.fetchval("SELECT count(*) FROM zart.executions") == 21


async def test_what_is_refused_of_one_start_is_refused_of_no_other(rig: Rig) -> None:
    await rig.client.register_task("t", specs(GRAPH))
    await rig.start("first")
    await rig.db.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.reason ="
        " 'bad' THEN RAISE EXCEPTION 'no'; END IF; RETURN NEW; END $$;"
        " CREATE TRIGGER refuse BEFORE INSERT ON zart.operations FOR EACH ROW"
        " EXECUTE FUNCTION refuse()"
    )
    stub = ExecutionServiceStub(rig.client.channel)
    reasons = ["good", "good", "bad", "good", "bad", "good"]
    answers = await asyncio.gather(
        *(
            stub.StartExecution(
                pb.StartExecutionRequest(task_name="t", execution_id=f"x{n}", reason=reason)
            )
            for n, reason in enumerate(reasons)
        ),
        return_exceptions=True,
    )
    assert [isinstance(each, BaseException) for each in answers] == [r == "bad" for r in reasons]
    assert await rig.db.fetchval("SELECT count(*) FROM zart.executions") == 5


async def test_each_call_takes_its_share_of_many_roots(rig: Rig, store: Database) -> None:
    graph: dict[str, tuple[str, ...]] = {f"s{n:03}": () for n in range(150)}
    await rig.client.register_task("many", specs(graph))
    asked: dict[str, tuple[tuple[str, ...], int]] = {
        "two": (("s007", "s008", "s009"), 2),
        "none": (("other",), 9),
        "any": ((), 3),
    }
    long_polls = LongPolls()
    with ExitStack() as until_asked:
        polls = [
            until_asked.enter_context(
                long_polls.register(
                    replace(ASKING, task_names=("many",), handlers=handlers, max_tasks=most)
                )
            )
            for handlers, most in asked.values()
        ]
        waiting = [asyncio.create_task(poll.wait(GIVE_UP)) for poll in (polls[0], polls[2])]
        none = asyncio.create_task(polls[1].wait(GIVE_UP))
        async with store.transaction() as tx:
            await start_executions(tx, [start("m", "many")], long_polls)
        await asyncio.gather(*waiting)
        none.cancel()

        assert [[task.step.step_name for task in poll.delivered] for poll in polls] == [
            ["s007", "s008"],
            [],
            ["s000", "s001", "s002"],
        ]
