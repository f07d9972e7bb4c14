"""The worst requests within the limits: while one is served, the others are answered."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing
from string import ascii_letters
from typing import Any, TypeAlias

import grpc
import pytest
from computing import Steps, collected_as_a_server_does
from fuzzing.bases import rpcs
from fuzzing.over_grpc import DEFECTS, answer
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import ListValue, Struct, Value
from rig import Rig
from waiting import GIVE_UP, until

import zart
from zart.testing.server import ServerUnderTest
from zart.v1 import admin_service_pb2 as admin
from zart.v1 import dispatch_service_pb2 as dispatch
from zart.v1 import execution_service_pb2 as execution
from zart.v1 import task_definition_pb2 as definition
from zart_server import aside

MIB = 1024 * 1024
MESSAGE = 16 * MIB - 1024
RPCS = {rpc.name: rpc for rpc in rpcs()}


def filled(begin: str, part: str, end: str) -> str:
    """Make JSON text of 1 MiB."""
    room = MIB - len(begin) - len(end) - len(part)
    return begin + part + ("," + part) * (room // (len(part) + 1)) + end


DEEP = filled("[", "[" * 63 + "]" * 63, "]")
FLOATS = filled("[", "1e308", "]")
CUT = "[" * 65 + '"' + '\\"' * ((MIB - 66) // 2)
NAME = "n" * 250


def names(count: int) -> list[str]:
    return [f"{NAME}{n:05}" for n in range(count)]


def graph(steps: int, each: int, **options: Any) -> list[definition.StepSpec]:
    """Make steps that depend on as many before them."""
    known = [f"s{n}" for n in range(steps)]
    return [
        definition.StepSpec(step_name=name, depends_on=known[max(0, n - each) : n], **options)
        for n, name in enumerate(known)
    ]


def start(**fields: Any) -> execution.StartExecutionRequest:
    return execution.StartExecutionRequest(task_name="t", **fields)


def batch(*items: execution.StartExecutionRequest) -> execution.BatchStartExecutionsRequest:
    return execution.BatchStartExecutionsRequest(requests=items)


def value(part: Value, count: int) -> Value:
    return Value(list_value=ListValue(values=[part] * count))


def outcomes(*texts: str) -> dispatch.ReportTasksRequest:
    return dispatch.ReportTasksRequest(
        dispatcher_id="d",
        outcomes=[
            dispatch.TaskOutcome(
                task_id="1-1-1", lease_token=1, completed=dispatch.TaskCompleted(result_json=text)
            )
            for text in texts
        ],
    )


STEP = definition.StepSpec(step_name="a")
NESTED = Value(list_value=ListValue(values=[Value(list_value=ListValue())]))
WORST: dict[str, tuple[str, Callable[[], Any]]] = {
    "deep JSON": ("StartExecution", lambda: start(steps=[STEP], payload_json=DEEP)),
    "JSON of large numbers": ("StartExecution", lambda: start(steps=[STEP], payload_json=FLOATS)),
    "JSON that is cut": ("StartExecution", lambda: start(steps=[STEP], payload_json=CUT)),
    "many JSON texts": ("BatchStartExecutions", lambda: batch(*[start(payload_json=DEEP)] * 5)),
    "many results": ("ReportTasks", lambda: outcomes(*[DEEP] * 5)),
    "a value of numbers": (
        "StartExecution", lambda: start(steps=[STEP], payload=value(Value(number_value=1), 300_000))),
    "a value of all that fits": (
        "StartExecution", lambda: start(steps=[STEP], payload=value(Value(bool_value=True), 4_000_000))),
    "a value of lists": (
        "StartExecution", lambda: start(steps=[STEP], payload=value(NESTED, 200_000))),
    "a value of members": ("StartExecution", lambda: start(steps=[STEP], payload=Value(
        struct_value=Struct(fields={f"{n:x}": Value(number_value=1) for n in range(50_000)})))),
    "many steps": ("StartExecution", lambda: start(steps=graph(10_000, 10))),
    "too many edges": ("StartExecution", lambda: start(steps=graph(1500, 1500))),
    "many inputs": ("StartExecution", lambda: start(steps=graph(1500, 1, input_json="[1" + ",1" * 5000 + "]"))),
    "many bad steps": ("StartExecution", lambda: start(steps=[definition.StepSpec()] * 10_000)),
    "many graphs": ("BatchStartExecutions", lambda: batch(*[start(steps=graph(20, 1))] * 1000)),
    "a definition": ("RegisterTask", lambda: dispatch.RegisterTaskRequest(
        definition=definition.TaskDefinition(task_name="t", steps=graph(10_000, 10)))),
    "many names": ("Rerun", lambda: admin.RerunRequest(
        execution_id="x", force_rerun=names(10_000), preserve=names(10_000))),
    "many handlers": ("LeaseTasks", lambda: dispatch.LeaseTasksRequest(
        dispatcher_id="d", task_names=names(1000), handlers=names(10_000), max_tasks=1)),
    "a long token": ("ListRuns", lambda: admin.ListRunsRequest(
        execution_id="x", page_token="W1tb" * (MESSAGE // 4))),
    "a long name": ("ListRuns", lambda: admin.ListRunsRequest(execution_id=" " * MESSAGE)),
    "a long reason": ("Restart", lambda: admin.RestartRequest(
        execution_id="x", reason="é" * (MESSAGE // 2), request_id="r")),
    "a pattern of alternatives": ("Pause", lambda: admin.PauseRequest(
        step_pattern="{*,?}" * 16 + "[!a-z]" * 20 + "{a,b}" * 10)),
    "statuses": ("ListExecutions", lambda: b"\x10\x01" * (MESSAGE // 2)),
    "empty steps": ("StartExecution", lambda: b"\x2a\x00" * (MESSAGE // 2)),
    "empty requests": ("BatchStartExecutions", lambda: b"\x0a\x00" * (MESSAGE // 2)),
    "empty outcomes": ("ReportTasks", lambda: b"\x12\x02\x1a\x00" * (MESSAGE // 4)),
    "empty names": ("Rerun", lambda: b"\x12\x00" * (MESSAGE // 2)),
    "unknown fields": ("Restart", lambda: b"\xa0\x06\x00" * (MESSAGE // 3)),
}  # fmt: skip
# As many steps as fit while a request is small yet.
SHORT = [
    definition.StepSpec(step_name="".join(each))
    for each in itertools.islice(itertools.product(ascii_letters, repeat=3), 9000)
]
OF_FEW_BYTES: dict[str, Callable[[], Message]] = {
    "StartExecution": lambda: start(steps=SHORT),
    "RunExecution": lambda: execution.RunExecutionRequest(start=start(steps=SHORT)),
    "BatchStartExecutions": lambda: batch(*[start(steps=SHORT[:900])] * 9),
    "RegisterTask": lambda: dispatch.RegisterTaskRequest(
        definition=definition.TaskDefinition(task_name="t", steps=SHORT)
    ),
}
# Rules whose patterns begin with a star: each looks as if each step had to be held to it. Some are
# long, and so take a while to be read.
_RULES = """
    WITH made AS (
        INSERT INTO zart.pause_rules (rule_id, step_pattern, step_regex, everything, reason,
            created_by, epoch)
        SELECT 'pr-' || n, replace(form, '#', n::text),
            format('^(?:%s)$', replace(replace(replace(form, '?', '.'), '*', '.*'), '#', n::text)),
            false, '', 'ops', epoch + 1
        FROM zart.pause_epoch, generate_series(1, 10000) n
        CROSS JOIN LATERAL (SELECT (ARRAY['*-#', '*-#-*', 's*-#', '*-#-*-step-*', '?*#-s' || repeat('[a-z]', 45)])
            [1 + n % 5] AS form) f)
    UPDATE zart.pause_epoch SET epoch = epoch + 1
"""
PATIENCE = 120.0
Code = grpc.StatusCode
# Seconds of CPU: 0.05 on a machine of its own, and room for one that is shared, or half as fast.
LONGEST = 0.2
STARVED = 0.6


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Have no test held up by what the tests themselves have made."""
    with collected_as_a_server_does():
        yield


Calls: TypeAlias = dict[str, Callable[[], Awaitable[object]]]


async def held_up(server: ServerUnderTest, calls: Calls) -> dict[str, tuple[float, float]]:
    """Make the calls one after the other, and return those that kept others waiting."""
    too_long: dict[str, tuple[float, float]] = {}
    for name, call in calls.items():
        async with Steps(server.loop) as steps:
            await call()
        if steps.longest > LONGEST or steps.starved > STARVED:
            too_long[name] = steps.longest, steps.starved
    return too_long


async def test_the_loop_goes_on(rig: Rig, zart_server: ServerUnderTest) -> None:
    await rig.client.register_task("t", [zart.StepSpec("a")])
    too_long: dict[str, tuple[float, float]] = {}
    for name, (rpc, make) in WORST.items():
        request = make()
        sent = request if isinstance(request, bytes) else request.SerializeToString()
        assert len(sent) <= 16 * MIB, name
        async with Steps(zart_server.loop) as steps:
            told = await answer(rig.client.channel, RPCS[rpc], sent, PATIENCE)
        assert told.code not in DEFECTS | {Code.DEADLINE_EXCEEDED}, (name, told)
        if steps.longest > LONGEST or steps.starved > STARVED:
            too_long[name] = steps.longest, steps.starved
    assert not too_long


@pytest.mark.parametrize("rpc", OF_FEW_BYTES)
async def test_many_steps_of_few_bytes_are_decoded_aside(
    rig: Rig, zart_server: ServerUnderTest, rpc: str
) -> None:
    sent = OF_FEW_BYTES[rpc]().SerializeToString()
    assert len(sent) < aside.LARGE
    go_on = threading.Event()
    try:
        aside._thread.submit(go_on.wait, GIVE_UP)
        await until(lambda: not aside._thread._work_queue.qsize())  # it has begun
        call = asyncio.create_task(answer(rig.client.channel, RPCS[rpc], sent, PATIENCE))
        await until(lambda: call.done() or aside._thread._work_queue.qsize())
        assert not call.done()
    finally:
        go_on.set()
    assert (await call).code is Code.OK


async def test_a_large_run(rig: Rig, zart_server: ServerUnderTest) -> None:
    roots = [zart.StepSpec(f"s{n}", handler="h", input=n) for n in range(4000)]
    client = rig.client
    leased: list[Any] = []

    async def lease() -> None:
        leased.extend(await client.lease_tasks("d", ["t"], max_tasks=1000))

    async def report() -> None:
        await rig.complete(*leased, result="x" * 200)

    async def watch() -> None:
        async with aclosing(client.watch_execution("x")) as states:
            await anext(states)

    calls: Calls = {
        "register": lambda: client.register_task("t", roots),
        "start": lambda: client.start("t", execution_id="x"),
        "lease": lease,
        "report": report,
        "get": lambda: client.get_execution("x"),
        "watch": watch,
        "definition": lambda: client.get_task_definition("t"),
        "rerun": lambda: client.rerun("x", include_downstream=True),
        "restart": lambda: client.restart("x"),
        "cancel": lambda: client.cancel_execution("x"),
    }
    assert not await held_up(zart_server, calls)


async def test_under_ten_thousand_rules(rig: Rig, zart_server: ServerUnderTest) -> None:
    await rig.db.execute(_RULES)
    client = rig.client
    wide = [zart.StepSpec(f"s{n}-step-{n}") for n in range(1000)]
    calls: Calls = {
        "start": lambda: client.start("t", execution_id="x", steps=wide),
        "start again": lambda: client.start("t", execution_id="y", steps=wide),
        "why": lambda: client.explain_step("x"),
        "why one": lambda: client.explain_step("x", "s7-step-7"),
        "get": lambda: client.get_execution("x"),
        "plan": lambda: client.pause(task_name="t", validate_only=True),
        "pause": lambda: client.pause(task_name="t"),
        "plan of a resume": lambda: client.resume(task_name="t", validate_only=True),
        "resume": lambda: client.resume(task_name="t"),
        "restart": lambda: client.restart("x"),
        "lease": lambda: rig.client.lease_tasks("d", ["t"], max_tasks=1000),
    }
    assert not await held_up(zart_server, calls)


async def test_many_inputs_that_are_compared(rig: Rig, zart_server: ServerUnderTest) -> None:
    present, other = ("[" + space + "1.5," * 3000 + "1]" for space in ("", " "))
    names_ = [f"s{n}" for n in range(1000)]
    roots = [zart.StepSpec(name, handler="h", input=zart.JsonText(present)) for name in names_]
    await rig.client.start("t", execution_id="x", steps=roots)
    same = {name: zart.JsonText(other) for name in names_}

    async def correct() -> None:
        await rig.client.rerun("x", force_rerun=["s0"], inputs=same, validate_only=True)

    assert not await held_up(zart_server, {"correct": correct})
