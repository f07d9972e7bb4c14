"""A bad field is named, beside whatever else is bad, and nothing is that its badness only hides.

Whether a field is set is asked of the request: what is bad is set, too, and names what it names.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from typing import Any

import grpc
import pytest
from api.test_inputs import refused, send
from fuzzing.bases import Bases, rpcs
from fuzzing.broken import Place, beside, copied, is_under, places, without
from fuzzing.over_grpc import Answered, answer
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from rig import Rig
from waiting import GIVE_UP

import zart
from zart import errors
from zart.gateway.bindings import all_services
from zart.v1 import admin_service_pb2 as admin
from zart.v1 import execution_service_pb2 as execution
from zart.v1 import pause_rule_pb2 as rules

AT_ONCE = 20
# Bad in each request that has one of them, so that nothing is done; and named beside all others.
BAD: dict[str, Any] = {
    "reason": "x" * 1001, "page_size": -1, "incident": "x" * 65, "max_tasks": -1,
}  # fmt: skip
# Named as if what it starts were all of the request: its errors are those of StartExecution.
STARTED = "RunExecution", "start."
# Fields of which nothing may be named: why.
UNJUDGED = {
    r"UpdateBreaker breaker\.(?!breaker_id)": "what is no setting is sent back as it was read",
    r"RegisterTask definition\.(version|last_asked_at|created_at)": "told by the server, likewise",
    r"(ReportTasks outcomes|ExtendLeases leases)\[0\]": "each of them has an answer of its own",
    r"BatchStartExecutions requests\[0\]": "each start has an answer of its own",
    r"(Start|Run)Execution (start\.)?steps\[0\]\.depends_on": "names of steps, which are bad here",
}


class Asking:
    """Asks one RPC for what it says of requests, of each but once."""

    def __init__(self, client: zart.Client, rpc: MethodDescriptor, base: Message) -> None:
        self._client, self.rpc = client, rpc
        self._room = asyncio.Semaphore(AT_ONCE)
        self._told: dict[bytes, asyncio.Task[Answered]] = {}
        self.bad = next((name for name in BAD if name in rpc.input_type.fields_by_name), "")
        if self.bad:
            setattr(base, self.bad, BAD[self.bad])
        self.base = base

    async def violations(self, request: Message) -> tuple[str, ...] | None:
        """Return the fields that are named as wrong; None: it is refused for something else."""
        key = request.SerializeToString(deterministic=True)
        if key not in self._told:
            self._told[key] = asyncio.create_task(self._ask(request))
        told = await self._told[key]
        if told.code in (grpc.StatusCode.OK, grpc.StatusCode.NOT_FOUND):
            return ()
        if told.code is not grpc.StatusCode.INVALID_ARGUMENT:
            return None
        prefix = STARTED[1] if self.rpc.name == STARTED[0] else ""
        return tuple(prefix + field for field in told.fields)

    async def _ask(self, request: Message) -> Answered:
        async with self._room:
            return await answer(self._client.channel, self.rpc, request, GIVE_UP)

    async def needed(self) -> Message:
        """Return the base without the fields that it is as good without."""
        good = await self.violations(self.base)
        needed = copied(self.base)
        for field, _ in self.base.ListFields():
            if await self.violations(without(self.base, field.name)) == good:
                needed.ClearField(field.name)
        return needed


async def faults(asking: Asking, place: Place, others: Iterable[Place]) -> list[str]:
    """Return what is named beside a bad field, and not where it is good, and what is not named."""
    needed = await asking.needed()
    bases = {f"beside {o.path}": r for o in others if (r := beside(needed, o, place)) is not None}
    bases |= {f"without {f.name}": without(needed, f.name) for f, _ in needed.ListFields()}
    found = []
    for name, base in {"alone": needed, **bases}.items():
        good = await asking.violations(place.good_in(base))
        for bad in place.broken_in(base, most=2 if name == "alone" else 1):
            told = await asking.violations(bad)
            if told is None or good is None:
                continue
            of_it = {field for field in told if is_under(field, place.path)}
            found += [f"{name}: {field}" for field in {*told} - of_it - {*good}]
            if asking.bad in good and asking.bad not in told:
                found.append(f"{name}: {asking.bad} is not named")
            if name == "alone" and not of_it:
                found.append("is not named")
    return [f"{asking.rpc.name} {place.path} {fault}" for fault in found]


@pytest.mark.parametrize("service", all_services(), ids=lambda service: service.name)
async def test_a_bad_field_is_named_and_nothing_else_for_it(
    client: zart.Client, service: ServiceDescriptor
) -> None:
    """Alone, beside each other field, and without each that the request would need."""
    bases = Bases()
    await bases.prepare(client, 5)
    found: list[str] = []
    for rpc in rpcs():
        if rpc.containing_service.name != service.name or rpc.client_streaming:
            continue
        asking = Asking(client, rpc, bases.of(rpc))
        every = [place for place in places(rpc.input_type) if place.path != asking.bad]
        for each in await asyncio.gather(*(faults(asking, place, every) for place in every)):
            found += each
    assert [fault for fault in found if not any(re.match(known, fault) for known in UNJUDGED)] == []


LONG = "x" * 300


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (admin.PauseRequest(task_name=LONG, everything=True), ["task_name", "everything"]),
        (
            admin.PauseRequest(task_name=LONG, release_on_expiry=rules.ReleaseOnExpiry()),
            ["task_name", "release_on_expiry.rate_per_second", "release_on_expiry"],
        ),
        (admin.ResumeRequest(rule_id=LONG, task_name=LONG), ["rule_id", "task_name"]),
        (admin.ResumeRequest(rule_id=LONG, canary=3), ["rule_id"]),
        (admin.RetryStepRequest(run_id=LONG, step_name=LONG), ["run_id", "step_name"]),
        (
            admin.RetryStepRequest(run_id=LONG, execution_id=LONG, step_name="a"),
            ["run_id", "execution_id"],
        ),
        (execution.GetStepRequest(execution_id=LONG), ["execution_id", "step_name"]),
        (
            execution.ExplainStepRequest(execution_id=LONG, step_name=LONG),
            ["execution_id", "step_name"],
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Message) else "-".join(value),
)
async def test_several_bad_fields_are_all_named(
    rig: Rig, request_: Message, fields: list[str]
) -> None:
    assert await refused(rig, request_) == fields


async def test_names_that_are_bad_are_not_told_to_be_there_twice(rig: Rig) -> None:
    inputs = [admin.StepInput(step_name=LONG, input_json="1")] * 2
    with pytest.raises(errors.InvalidField) as error:
        await send(rig, admin.RerunRequest(execution_id="x", inputs=inputs))
    bad = "has more than 255 bytes"
    assert error.value.fields == {f"inputs[{n}].step_name": bad for n in range(2)}
