"""The law of the family: whatever changes something is asked, answered and planned alike."""

from __future__ import annotations

import pytest
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor

from zart.gateway.bindings import all_services
from zart_server.api.policy import POLICY
from zart_server.domain.identity import Role

# What may be planned, as OPERATING.md says, whether it is there yet or not.
PLANNED = {
    "RetryStep", "Restart", "Rerun", "CancelExecution", "Pause", "UpdatePauseRule", "Resume",
    "CompleteStep", "FailStep", "CreateBatch", "PurgeExecutions",
}  # fmt: skip
# Its answer says so of each item.
WITHOUT_REPLAYED = {"BatchStartExecutions"}
RPCS = {
    f"/{service.full_name}/{method.name}": method
    for service in all_services()
    for method in service.methods
}
# What a dispatcher does is the same each time, and on record as its own: RegisterTask.
CHANGING = {Role.OPERATOR, Role.STARTER, Role.ADMIN}
MUTATIONS = [rpc for path, rpc in RPCS.items() if POLICY.get(path) in CHANGING]
WHO = {"triggered_by", "reason", "request_id", "incident"}
TEXT, BOOL = FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BOOL


def typed(rpc: MethodDescriptor, *, asked: bool) -> dict[str, int]:
    """Return the fields of the request or the answer, with their types."""
    message = rpc.input_type if asked else rpc.output_type
    return {field.name: field.type for field in message.fields}


def test_these_are_many() -> None:
    assert len(MUTATIONS) >= 15
    assert {rpc.name for rpc in MUTATIONS} >= PLANNED & {rpc.name for rpc in RPCS.values()}


@pytest.mark.parametrize("rpc", MUTATIONS, ids=lambda rpc: rpc.name)
def test_each_says_who_and_why_and_under_which_id(rpc: MethodDescriptor) -> None:
    fields = typed(rpc, asked=True)
    assert {name: fields.get(name) for name in WHO} == dict.fromkeys(WHO, TEXT)


@pytest.mark.parametrize("rpc", MUTATIONS, ids=lambda rpc: rpc.name)
def test_each_says_whether_it_was_done_before(rpc: MethodDescriptor) -> None:
    if rpc.name not in WITHOUT_REPLAYED:
        assert typed(rpc, asked=False).get("replayed") == BOOL


@pytest.mark.parametrize("rpc", MUTATIONS, ids=lambda rpc: rpc.name)
def test_those_that_have_plans_have_all_of_them(rpc: MethodDescriptor) -> None:
    asked, answered = typed(rpc, asked=True), typed(rpc, asked=False)
    plan = {"validate_only": BOOL, "plan_token": TEXT}
    if rpc.name in PLANNED:
        assert {name: asked.get(name) for name in plan} == plan
        assert (answered.get("planned"), answered.get("plan_token")) == (BOOL, TEXT)
    else:
        assert not plan.keys() & asked.keys()
        assert not {"planned", "plan_token"} & answered.keys()


@pytest.mark.parametrize("path", RPCS)
def test_nothing_else_says_who_asks(path: str) -> None:
    """A read has no request_id, so that nobody takes it for something that is done once."""
    if RPCS[path] not in MUTATIONS:
        assert (
            not {"request_id", "validate_only", "plan_token"} & typed(RPCS[path], asked=True).keys()
        )
