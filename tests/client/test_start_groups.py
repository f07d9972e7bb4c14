"""Starts of one moment go out together, and each is by itself for its caller."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from client.starting import Call, starting
from issuing import Connect
from rig import CHAIN, Rig, specs
from waiting import GIVE_UP, eventually, for_ever, until

import zart
from zart import errors
from zart.calls.execution import start
from zart.start_groups import StartGroups
from zart.testing.server import ServerUnderTest

BATCH, ALONE = "BatchStartExecutions", "StartExecution"
MANY = 20


@pytest.fixture
async def grouping(zart_server: ServerUnderTest, rig: Rig) -> AsyncIterator[zart.Client]:
    """A client as it comes, and a task to start."""
    await rig.client.register_task("t", specs(CHAIN))
    async with zart.connect(zart_server.address, triggered_by="tester") as client:
        yield client


async def calls_of(rig: Rig) -> list[int]:
    """Return how many executions each call has started: its request_id is on record."""
    rows = await rig.db.fetch(
        "SELECT count(*) FROM zart_operations WHERE kind = 'start' GROUP BY request_id ORDER BY 1"
    )
    return [row[0] for row in rows]


async def test_starts_of_one_moment_are_one_call(grouping: zart.Client, rig: Rig) -> None:
    handles = await asyncio.gather(
        *(grouping.start("t", n, execution_id=f"x-{n}") for n in range(MANY))
    )

    assert [handle.execution_id for handle in handles] == [f"x-{n}" for n in range(MANY)]
    assert all(h.execution and h.execution.created_at for h in handles)
    assert await calls_of(rig) == [MANY]
    await grouping.start("t", execution_id="alone")
    assert await calls_of(rig) == [1, MANY]


async def test_by_a_flag_or_with_a_channel_of_its_own_each_goes_alone(
    grouping: zart.Client, zart_server: ServerUnderTest, rig: Rig
) -> None:
    async with (
        zart.connect(zart_server.address, group_starts=False) as off,
        zart.connect(channel=grouping.channel) as own,
    ):
        await asyncio.gather(*(client.start("t") for client in (off, own) for _ in range(3)))
    assert await calls_of(rig) == [1] * 6


async def test_each_has_its_own_error_which_is_on_record_as_its_own(
    grouping: zart.Client, rig: Rig
) -> None:
    await grouping.start("t", execution_id="taken")
    found = await asyncio.gather(
        grouping.start("t", execution_id="good"),
        grouping.start("t", execution_id="taken"),
        grouping.start("nobody knows", execution_id="lost"),
        grouping.start("t", execution_id="bad\n"),
        grouping.start("t", execution_id="taken", if_exists="return"),
        return_exceptions=True,
    )

    assert [type(each) for each in found] == [
        zart.Handle, errors.ExecutionExists, errors.TaskDefinitionNotFound, errors.InvalidField,
        zart.Handle,
    ]  # fmt: skip
    assert isinstance(found[3], errors.InvalidField)
    assert list(found[3].fields) == ["execution_id"]  # as if it had been the only one

    async def are_on_record() -> bool:
        rows = await rig.db.fetch("SELECT status FROM zart_operation_attempts")
        return [row["status"] for row in rows] == ["refused"] * 3

    await eventually(are_on_record)


async def test_what_each_says_stays_its_own(grouping: zart.Client, rig: Rig) -> None:
    await asyncio.gather(
        grouping.start("t", execution_id="a", reason="one", incident="INC-1"),
        grouping.start("t", execution_id="b", reason="two", triggered_by="eve"),
        grouping.start("t", execution_id="c", request_id="mine"),
        grouping.start("t", execution_id="d"),
    )
    rows = await rig.db.fetch(
        "SELECT execution_id, reason, incident, triggered_by, request_id FROM zart_operations"
        " WHERE kind = 'start' ORDER BY execution_id"
    )

    assert [tuple(row)[:4] for row in rows] == [
        ("a", "one", "INC-1", "tester"), ("b", "two", "", "eve"), ("c", "", "", "tester"),
        ("d", "", "", "tester"),
    ]  # fmt: skip
    assert len({row["request_id"] for row in rows}) == 2
    assert rows[2]["request_id"] == "mine"
    again = await grouping.start("t", execution_id="c", request_id="mine")
    assert again.execution_id == "c"


async def test_a_role_that_is_lacking_is_told_each(connect: Connect) -> None:
    viewer = connect("viewer")
    found = await asyncio.gather(*(viewer.start("t") for _ in range(3)), return_exceptions=True)
    assert [type(each) for each in found] == [errors.RoleRequired] * 3


async def test_what_comes_while_a_call_is_under_way_goes_when_it_ends() -> None:
    asked: list[Call] = []
    may_end = asyncio.Event()

    async def behave(call: Call, _context: Any) -> None:
        if call[1] == ["first"]:
            await may_end.wait()

    async with starting(asked, behave) as address, zart.connect(address) as client:
        groups = StartGroups(client, patience=GIVE_UP)
        first = asyncio.create_task(groups.start(start("t", execution_id="first")))
        await until(lambda: asked)
        names = [f"x-{n}" for n in range(1_500)]
        others = [asyncio.create_task(groups.start(start("t", execution_id=n))) for n in names]
        left = asyncio.create_task(groups.start(start("t", execution_id="left")))
        large = asyncio.create_task(groups.start(start("t", "x" * 70_000, execution_id="large")))
        await large
        left.cancel()
        await asyncio.wait([left])
        assert asked == [(ALONE, ["first"]), (ALONE, ["large"])]
        may_end.set()
        found = await asyncio.gather(first, *others)

    assert [each.execution_id for each in found] == ["first", *names]
    assert asked[2:] == [(BATCH, names[:1000]), (BATCH, names[1000:])]


async def test_a_call_that_takes_long_holds_up_others_for_but_a_moment() -> None:
    asked: list[Call] = []

    async def behave(call: Call, _context: Any) -> None:
        if "stuck" in call[1]:
            await for_ever()

    async with starting(asked, behave) as address, zart.connect(address) as client:
        stuck = asyncio.create_task(client.start("t", execution_id="stuck"))
        await until(lambda: asked)
        for n in range(3):
            await asyncio.gather(*(client.start("t", execution_id=f"{n}-{i}") for i in range(2)))
        assert not stuck.done()
        stuck.cancel()
    assert [method for method, _ in asked] == [ALONE, BATCH, BATCH, BATCH]


async def test_each_waits_no_longer_than_the_client_does() -> None:
    asked: list[Call] = []

    async def behave(_call: Call, _context: Any) -> None:
        await for_ever()

    async with starting(asked, behave) as address, zart.connect(address, timeout=1) as client:
        early = [asyncio.create_task(client.start("t", execution_id=n)) for n in ("a", "b")]
        await until(lambda: asked or all(each.done() for each in early))
        client.timeout = GIVE_UP
        late = asyncio.create_task(client.start("t", execution_id="late"))
        found = await asyncio.gather(*early, return_exceptions=True)
        assert [type(each) for each in found] == [errors.Unreachable] * 2
        assert not late.done()
        late.cancel()


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.INTERNAL, zart.Refused),
        (grpc.StatusCode.DEADLINE_EXCEEDED, errors.Unreachable),
    ],
)
async def test_what_may_have_happened_is_not_asked_for_again(
    code: grpc.StatusCode, kind: type[Exception]
) -> None:
    asked: list[Call] = []

    async def behave(_call: Call, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        await context.abort(code, "no")

    async with starting(asked, behave) as address, zart.connect(address) as client:
        found = await asyncio.gather(
            *(client.start("t", execution_id=f"x-{n}") for n in range(3)), return_exceptions=True
        )
    assert [type(each) for each in found] == [kind] * 3
    assert len({id(each) for each in found}) == 3
    assert all(isinstance(each, Exception) and each.__cause__ for each in found)
    assert len(asked) == 1


async def test_a_channel_that_is_closed_leaves_nobody_waiting() -> None:
    asked: list[Call] = []

    async def behave(_call: Call, _context: Any) -> None:
        await for_ever()

    async with starting(asked, behave) as address:
        client = zart.connect(address)
        groups = StartGroups(client, patience=GIVE_UP)
        starts = [asyncio.create_task(groups.start(start("t", n))) for n in range(2)]
        await until(lambda: asked)
        starts.append(asyncio.create_task(groups.start(start("t", 2))))
        await asyncio.wait(starts, timeout=0)
        await client.close()
        found = await asyncio.gather(*starts, return_exceptions=True)
    assert [str(each) for each in found[:2]] == ["the client was closed"] * 2
    assert [type(each) for each in found] == [errors.Unreachable] * 2 + [errors.ClientClosed]


async def test_a_call_for_all_that_is_cancelled_cancels_nobody_else() -> None:
    """As where a program ends by cancelling every task that it finds."""
    asked: list[Call] = []

    async def behave(_call: Call, _context: Any) -> None:
        await for_ever()

    async with starting(asked, behave) as address, zart.connect(address) as client:
        groups = StartGroups(client, patience=GIVE_UP)
        under_way = asyncio.create_task(groups.start(start("t", execution_id="x")))
        await until(lambda: asked)
        waiting = asyncio.create_task(groups.start(start("t", execution_id="y")))
        await asyncio.wait([waiting], timeout=0)
        (sending,) = (task for task in asyncio.all_tasks() if task.get_name() == "starts")
        sending.cancel()
        found = await asyncio.gather(under_way, waiting, return_exceptions=True)

    assert [type(each) for each in found] == [errors.Unreachable] * 2
    assert [bool(getattr(each, "request_id", None)) for each in found] == [True, False]
    assert len(asked) == 1
