"""Who may call what: every RPC, every role, through a real channel."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha import reflection_pb2
from issuing import Connect
from waiting import GIVE_UP

import zart
from zart.testing.server import ServerUnderTest
from zart_server.api.policy import POLICY, Access
from zart_server.api.services import REGISTERED
from zart_server.domain.identity import Role

HEALTH = "/grpc.health.v1.Health/"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
CALLERS = ["", "nobody", *Role]
Code = grpc.StatusCode


def methods() -> list[MethodDescriptor]:
    """Every method of every service that is registered, health and reflection included."""
    pool = descriptor_pool.Default()
    return [m for name in REGISTERED for m in pool.FindServiceByName(name).methods]


def path_of(method: MethodDescriptor) -> str:
    return f"/{method.containing_service.full_name}/{method.name}"


def test_every_method_has_a_line_and_every_line_a_method() -> None:
    assert sorted(map(path_of, methods())) == sorted(POLICY)


async def test_the_services_walked_are_those_that_the_server_has(connect: Connect) -> None:
    stub = connect("viewer").channel.stream_stream(
        REFLECTION,
        reflection_pb2.ServerReflectionRequest.SerializeToString,
        reflection_pb2.ServerReflectionResponse.FromString,
    )
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    answers = [answer async for answer in stub(iter([request]))]

    listed = [service.name for service in answers[0].list_services_response.service]
    assert sorted(listed) == sorted(REGISTERED)


async def code_of(client: zart.Client, method: MethodDescriptor) -> grpc.StatusCode:
    """Call a method with an empty request, or an empty stream of them; gives how that ended.

    OK for a stream of answers that began.
    """
    request = GetMessageClass(method.input_type)()
    kind = (
        f"{'stream' if method.client_streaming else 'unary'}"
        f"_{'stream' if method.server_streaming else 'unary'}"
    )
    rpc: Any = getattr(client.channel, kind)(
        path_of(method),
        request_serializer=type(request).SerializeToString,
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
    call = rpc(iter(()) if method.client_streaming else request, timeout=GIVE_UP)
    try:
        if method.server_streaming:
            async for _ in call:
                break
        else:
            await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    finally:
        call.cancel()
    return Code.OK


def expected(path: str, caller: str) -> grpc.StatusCode | None:
    """Return the refusal that the policy says; None: let in."""
    need = POLICY[path]
    if need is Access.OPEN:
        return None
    if not caller:
        return Code.UNAUTHENTICATED
    if need is Access.IDENTIFIED or caller in (need, Role.ADMIN):
        return None  # of several roles that are needed no caller here has all
    return Code.PERMISSION_DENIED


@pytest.mark.parametrize("caller", CALLERS)
async def test_every_method_is_for_its_role_and_for_admins(connect: Connect, caller: str) -> None:
    client = connect(caller)

    for method in methods():
        path = path_of(method)
        code = await code_of(client, method)
        refusal = expected(path, caller)

        if refusal is None:
            let_in = (Code.OK, Code.INVALID_ARGUMENT)  # an empty request names nothing
            assert code in let_in, path
        else:
            assert code is refusal, path


# The contract's words, said again: the table above must not drift from them.
ROLES = {
    "viewer": {
        "ListRuns", "GetPauseRule", "ListPauseRules", "GetExecution", "GetStep", "ListExecutions",
        "ListInDoubt", "CompareRuns", "CountExecutions", "ListErrorGroups",
        "ExplainStep", "WatchExecution", "RunExecution", "WatchPauseRule", "VerifyPauseRule",
        "ListTaskDefinitions", "GetTaskDefinition",
        "GetBreaker", "ListBreakers", "ListOperations", "ListRuleHolds",
        "GetBatch", "ListBatches", "ListBatchItems", "WatchBatch",
        "ListRetention", "GetStats", "ServerReflectionInfo",
    },
    "operator": {
        "RetryStep", "CompleteStep", "FailStep", "Restart", "Rerun", "Pause", "UpdatePauseRule", "Resume",
        "StopRelease", "ResolveInDoubt",
        "CreateBreaker", "UpdateBreaker", "DeleteBreaker", "TripBreaker", "ResetBreaker",
        "CreateBatch", "UpdateBatch", "PauseBatch", "ResumeBatch", "CancelBatch",
    },
    "admin": {"SetRetention", "UnsetRetention", "PurgeExecutions"},
    "starter": {"StartExecution", "BatchStartExecutions", "RunExecution", "CancelExecution"},
    "dispatcher": {"LeaseTasks", "DispatchTasks", "ReportTasks", "ExtendLeases", "RegisterTask", "GetStepResults"},
}  # fmt: skip


def test_each_role_has_what_the_contract_gives_it() -> None:
    found: dict[str, set[str]] = {role: set() for role in ROLES}
    for path, need in POLICY.items():
        for role in need if isinstance(need, tuple) else (need,):
            if isinstance(role, Role):
                found[role].add(path.rpartition("/")[2])

    assert found == ROLES
    assert [path for path, need in POLICY.items() if need is Access.OPEN] == [f"{HEALTH}Check"]


async def test_a_method_that_does_not_exist_is_told_only_to_callers_who_are_known(
    connect: Connect,
) -> None:
    for name, wanted in (("", Code.UNAUTHENTICATED), ("nobody", Code.UNIMPLEMENTED)):
        for path in ("/zart.v1.AdminService/Nothing", "/no.such.Service/Nothing"):
            rpc: Any = connect(name).channel.unary_unary(path)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await rpc(b"")
            assert caught.value.code() is wanted


async def test_what_is_there_and_what_is_not_look_alike_to_who_may_not_see(
    connect: Connect, guarded: ServerUnderTest
) -> None:
    await connect("starter").start("t", execution_id="there", steps=[zart.StepSpec("a")])
    client = connect("starter")
    answers = []
    for execution_id in ("there", "absent", "\x00bad"):
        with pytest.raises(zart.errors.RoleRequired) as caught:
            await client.get_execution(execution_id)
        answers.append((caught.value.code, caught.value.message, dict(caught.value.metadata)))

    assert answers[0] == answers[1] == answers[2]
    assert answers[0] == (Code.PERMISSION_DENIED, "role 'viewer' is needed", {"role": "viewer"})


async def test_identity_and_role_are_judged_before_the_arguments(connect: Connect) -> None:
    path = "/zart.v1.AdminService/RetryStep"
    for name, wanted in (
        ("", Code.UNAUTHENTICATED),
        ("viewer", Code.PERMISSION_DENIED),
        ("operator", Code.INVALID_ARGUMENT),
    ):
        rpc: Any = connect(name).channel.unary_unary(path)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await rpc(b"\xff\xff no message")
        assert caught.value.code() is wanted


async def test_roles_add_up(connect: Connect, guarded: ServerUnderTest, tokens: Any) -> None:
    tokens.add("both", "viewer", "starter")
    client = connect("both")
    async for _ in _until_known(client):
        pass

    await client.start("t", execution_id="x", steps=[zart.StepSpec("a")])

    assert (await client.get_execution("x")).run.principal == "both"


async def _until_known(client: zart.Client) -> AsyncIterator[None]:
    """Ask until the server has read its file anew."""
    while True:
        try:
            await client.list_executions()
        except zart.errors.InvalidCredentials:
            yield None
        else:
            return


async def test_the_message_of_a_call_that_is_refused_is_not_even_read(
    guarded: ServerUnderTest,
) -> None:
    """But that of a mutation that lacks a role, for the record: of a few at a time."""
    too_large = b"x" * (17 * 1024 * 1024)
    options = [("grpc.max_send_message_length", -1)]
    for name, method, wanted in (
        ("", "RetryStep", Code.UNAUTHENTICATED),
        ("nobody", "ListPauseRules", Code.PERMISSION_DENIED),
        ("viewer", "RetryStep", Code.RESOURCE_EXHAUSTED),
        ("operator", "RetryStep", Code.RESOURCE_EXHAUSTED),
    ):
        metadata = [("authorization", f"Bearer zart_token-of-{name}")] if name else []
        async with grpc.aio.insecure_channel(guarded.address, options=options) as channel:
            rpc: Any = channel.unary_unary(f"/zart.v1.AdminService/{method}")
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await rpc(too_large, metadata=metadata)
            assert caught.value.code() is wanted


async def test_a_defect_lets_nobody_in(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no text of this may be told")

    monkeypatch.setattr("zart_server.identity.static_tokens.StaticTokens.find", broken)
    with pytest.raises(zart.errors.InternalError) as caught:
        await connect("admin").list_executions()

    assert "no text" not in caught.value.message
