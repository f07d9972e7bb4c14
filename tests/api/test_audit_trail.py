"""Refused mutations are on record: once, as they were answered, by field and not by value."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import grpc
import pytest
from issuing import Connect
from rig import CHAIN, Rig, eventually, specs

import zart
from zart import errors
from zart.gateway.bindings import all_services
from zart.testing.server import ServerUnderTest
from zart.v1 import admin_service_pb2
from zart_server.api.attempted import is_refusal
from zart_server.api.audited import AUDITED
from zart_server.api.errors import CODES
from zart_server.api.record_limit import Origin, RecordLimit
from zart_server.api.refused_words import RefusedWords

_LARGE = {"text": "secret-" + "x" * 1_100_000}
ATTEMPTS = "SELECT * FROM zart_operation_attempts ORDER BY operation_id"


async def recorded(db: asyncpg.Connection[Any], count: int) -> list[dict[str, Any]]:
    """Wait until so many attempts are on record; give them with their refusals read."""
    rows: list[asyncpg.Record] = []

    async def are_there() -> bool:
        rows[:] = await db.fetch(ATTEMPTS)
        return len(rows) >= count

    await eventually(are_there)
    return [{**row, "refusal": json.loads(row["refusal"] or "null")} for row in rows]


def test_the_table_names_every_mutation() -> None:
    """Whatever says to which incident it belongs is a mutation, but for lists, which ask for it."""
    mutating = {
        f"/{service.full_name}/{method.name}"
        for service in all_services()
        for method in service.methods
        for names in [method.input_type.fields_by_name]
        if "page_size" not in names
        and ("incident" in names or method.name == "RunExecution")  # which has it in its start
    }
    assert mutating == AUDITED.keys()


def test_what_is_a_refusal() -> None:
    never = {"UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL", "UNAUTHENTICATED", "UNIMPLEMENTED"}
    for kind, code in CODES.items():
        error = kind.__new__(kind)
        assert is_refusal(error) == (code.name not in never and kind.reason != "STORE_CONFLICT")


async def test_each_refusal_is_on_record_once(rig: Rig) -> None:
    call = rig.client
    await rig.start("x", CHAIN)
    await call.restart("x", request_id="r1")
    refused: list[tuple[Any, type[errors.Refused]]] = [
        (call.retry_step("x", ""), errors.InvalidField),
        (call.retry_step("y", "a"), errors.ExecutionNotFound),
        (call.start("t", execution_id="x", steps=specs(CHAIN)), errors.ExecutionExists),
        (call.restart("x", request_id="r1", reason="other"), errors.RequestIdReused),
        (call.retry_step("x", "a", incident="INC-7", reason="a\nb"), errors.StepNotDead),
        (call.restart("x", payload=_LARGE), errors.PayloadTooLarge),
        (call.restart("x", expected_run_number=0), errors.RunChanged),
        (call.cancel_execution("y"), errors.ExecutionNotFound),
        (call.resume(rule_id="pr-none"), errors.PauseRuleNotFound),
        (call.pause(step_pattern="["), errors.InvalidField),
        (call.rerun("x", preserve=["nosuch"]), errors.InvalidField),
        (call.register_task("t", []), errors.InvalidField),
        (call.batch_start_executions([zart.Start("t")] * 1001), errors.TooManyItems),
    ]
    for asked, error in refused:
        with pytest.raises(error):
            await asked
    with pytest.raises(errors.ExecutionNotFound):
        await call.get_execution("y")  # no mutation

    rows = await recorded(rig.db, len(refused))
    assert [(row["kind"], row["refusal"]["reason"]) for row in rows] == [
        ("retry_step", "INVALID_FIELD"),
        ("retry_step", "EXECUTION_NOT_FOUND"),
        ("start", "EXECUTION_EXISTS"),
        ("restart", "REQUEST_ID_REUSED"),
        ("retry_step", "STEP_NOT_DEAD"),
        ("restart", "PAYLOAD_TOO_LARGE"),
        ("restart", "RUN_CHANGED"),
        ("cancel", "EXECUTION_NOT_FOUND"),
        ("resume", "PAUSE_RULE_NOT_FOUND"),
        ("pause", "INVALID_FIELD"),
        ("rerun", "INVALID_FIELD"),
        ("register_task", "INVALID_FIELD"),
        ("start", "TOO_MANY_ITEMS"),
    ]
    assert {row["status"] for row in rows} == {"refused"}
    assert {row["triggered_by"] for row in rows} == {"tester", ""}  # "": RegisterTask says nothing
    dead = rows[4]
    assert (dead["execution_id"], dead["step_name"]) == ("x", "a")
    assert (dead["incident"], dead["reason"]) == ("INC-7", "a\nb")
    assert dead["refusal"]["code"] == "FAILED_PRECONDITION"
    assert dead["refusal"]["metadata"]["status"] == "SCHEDULED"
    assert rows[8]["rule_id"] == "pr-none"
    operations = await call.list_operations()
    assert [o.kind for o in operations] == ["RESTART", "START"]


async def test_values_are_not_on_record(rig: Rig) -> None:
    text = "secret-\x1b[2J"
    for asked in (
        rig.client.retry_step(text, "a" * 300, triggered_by=text, incident="secret" * 20),
        rig.client.retry_step("", "a", run_id=text),
        rig.client.restart("x" * 256, payload=_LARGE, reason="secret" * 200),
        rig.client.start(text, {"card": "secret"}, request_id=text),
        rig.client.pause(step_pattern="secret["),
    ):
        with pytest.raises(errors.Refused):
            await asked
    rows = await recorded(rig.db, 5)
    assert "secret" not in str(rows)
    fields = "execution_id, step_name, triggered_by, incident"
    assert rows[0]["refusal"]["message"] == f"cannot be right: {fields}"
    assert rows[0]["refusal"]["metadata"] == {"fields": fields}


async def test_the_run_named_is_on_record(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    with pytest.raises(errors.StepNotDead):
        await rig.client.retry_step("", "a", run_id="x:run:0")
    [row] = await recorded(rig.db, 1)
    assert (row["execution_id"], row["run_number"]) == ("x", 0)


async def test_a_call_that_is_tried_again_inside_is_on_record_once(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    lock = "SELECT FROM zart.executions WHERE execution_id = 'x' FOR UPDATE"

    async with rig.locked(lock):
        calls = [asyncio.ensure_future(rig.client.retry_step("x", "a")) for _ in range(2)]
        await rig.until_waiting()
    for call in calls:
        with pytest.raises(errors.StepNotDead):
            await call
    with pytest.raises(errors.ExecutionNotFound):
        await rig.client.restart("last")
    rows = await recorded(rig.db, 3)
    assert [row["execution_id"] for row in rows] == ["x", "x", "last"]


async def test_no_answer_waits_for_the_record(rig: Rig) -> None:
    async with rig.locked("LOCK TABLE zart.operation_attempts IN ACCESS EXCLUSIVE MODE"):
        for _ in range(20):
            with pytest.raises(errors.ExecutionNotFound):
                await rig.client.restart("x")
        await rig.until_waiting()
    await recorded(rig.db, 20)


async def test_who_was_refused_a_role_is_on_record(
    connect: Connect, db: asyncpg.Connection[Any]
) -> None:
    """With who asks for what and why, which nobody was let in by, and never with values."""
    with pytest.raises(errors.RoleRequired):
        await connect("viewer").retry_step(
            "x", "a", triggered_by="eve", reason="why", incident="INC-7", request_id="r"
        )
    with pytest.raises(errors.InvalidCredentials):
        await connect("stranger").pause(task_name="t")
    with pytest.raises(errors.RoleRequired):
        await connect("nobody").restart(
            "x" * 300, payload={"card": "secret"}, incident="secret" * 20
        )
    with pytest.raises(errors.RoleRequired):
        await connect("viewer").start("t", "secret" * 20_000, execution_id="large")
    rows = await recorded(db, 3)
    assert [(row["principal"], row["kind"], row["execution_id"]) for row in rows] == [
        ("viewer", "retry_step", "x"),
        ("nobody", "restart", ""),
        ("viewer", "start", ""),  # that large it is not read for the record
    ]
    assert {row["refusal"]["code"] for row in rows} == {"PERMISSION_DENIED"}
    told = rows[0]
    assert (told["step_name"], told["triggered_by"], told["reason"]) == ("a", "eve", "why")
    assert (told["incident"], told["request_id"]) == ("INC-7", "r")
    assert "secret" not in str(rows)


async def test_who_lacks_a_role_and_says_nothing_is_refused_all_the_same(
    guarded: ServerUnderTest, db: asyncpg.Connection[Any]
) -> None:
    async with grpc.aio.insecure_channel(guarded.address) as channel:
        metadata = [("authorization", "Bearer zart_token-of-viewer")]
        send: grpc.aio.StreamStreamMultiCallable[bytes, bytes]
        send = channel.stream_stream("/zart.v1.AdminService/Pause", request_serializer=bytes)
        silent, ended, broken = [send(metadata=metadata) for _ in range(3)]
        await ended.done_writing()
        await broken.write(b"\xff")
        for call in (silent, ended, broken):
            assert await call.code() is grpc.StatusCode.PERMISSION_DENIED
    rows = await recorded(db, 3)
    assert {(row["principal"], row["kind"]) for row in rows} == {("viewer", "pause")}


async def test_what_refused_calls_say_is_read_of_few_at_a_time() -> None:
    words, said = RefusedWords(), asyncio.Event()

    async def saying(message: bytes) -> AsyncIterator[bytes]:
        await said.wait()
        yield message

    reading = [asyncio.create_task(words.read(bytes.decode, saying(b"x"))) for _ in range(17)]
    await reading[16]  # which is not waited for
    said.set()
    assert await asyncio.gather(*reading) == ["x"] * 16 + [None]
    assert await words.read(bytes.decode, saying(b"y")) == "y"


async def test_a_request_of_a_newer_caller_is_on_record(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    async with grpc.aio.insecure_channel(zart_server.address) as channel:
        send: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]
        send = channel.unary_unary("/zart.v1.AdminService/Restart", request_serializer=bytes)
        with pytest.raises(grpc.aio.AioRpcError):
            await send(
                admin_service_pb2.RestartRequest(
                    execution_id="x", triggered_by="eve", reason="why", incident="INC-7"
                ).SerializeToString()
                + b"\xf8\xff\xff\xff\x0f\x01"
            )
    [row] = await recorded(rig.db, 1)
    assert row["refusal"]["metadata"] == {"fields": "536870911"}
    assert (row["execution_id"], row["incident"]) == ("x", "INC-7")
    assert (row["triggered_by"], row["reason"]) == ("eve", "why")


async def test_at_most_sixty_a_minute_of_one_caller(rig: Rig) -> None:
    for _ in range(70):
        with pytest.raises(errors.ExecutionNotFound):
            await rig.client.restart("x")
    assert len(await recorded(rig.db, 60)) == 60


async def test_plans_leave_room_for_refusals(rig: Rig) -> None:
    await rig.dead("y")
    for _ in range(70):
        await rig.client.restart("y", validate_only=True)
    with pytest.raises(errors.ExecutionNotFound):
        await rig.client.restart("x")
    found = [(row["status"], row["execution_id"]) for row in await recorded(rig.db, 61)]
    assert found == [("planned", "y")] * 60 + [("refused", "x")]


def test_those_beyond_the_limit_are_counted_by_caller() -> None:
    limit, ours, others = RecordLimit(), Origin("p", "ipv4:10.0.0.1"), Origin("p", "ipv4:10.0.0.2")
    assert all(limit.admits(ours, second) for second in range(60))
    assert [limit.admits(ours, second) for second in (59.0, 59.5, 59.9)] == [False] * 3
    assert limit.admits(others, 59.9)
    assert limit.admits(ours, 60.0)
    assert (limit.take_omitted(ours), limit.take_omitted(ours)) == (3, 0)
    assert not limit.admits(ours, 60.9)
    assert limit.admits(ours, 61.0)
    assert limit.take_omitted(ours) == 1


async def test_the_record_cannot_be_changed(rig: Rig) -> None:
    with pytest.raises(errors.ExecutionNotFound):
        await rig.client.restart("x")
    await recorded(rig.db, 1)
    for statement in (
        "UPDATE zart.operation_attempts SET triggered_by = 'eve'",
        "DELETE FROM zart.operation_attempts",
        "TRUNCATE zart.operation_attempts",
    ):
        with pytest.raises(asyncpg.PostgresError, match="cannot be changed or deleted"):
            await rig.db.execute(statement)
