"""Static tokens: who has one gets in, the file is followed, and nothing of it is told."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import grpc
import pytest
from issuing import Connect, TokenFile
from rig import eventually

import zart
from zart import errors
from zart.cli.main import main
from zart.testing.server import serving
from zart.v1 import dispatch_service_pb2 as pb
from zart.v1.dispatch_service_pb2_grpc import DispatchServiceStub
from zart_server.app import StartError


async def test_a_known_token_gets_in_and_others_are_told_why_not(connect: Connect) -> None:
    assert await connect("viewer").list_executions() == []
    with pytest.raises(errors.MissingCredentials) as missing:
        await connect("").list_executions()
    with pytest.raises(errors.InvalidCredentials) as invalid:
        await connect("stranger").list_executions()
    with pytest.raises(errors.RoleRequired) as forbidden:
        await connect("starter").list_executions()

    assert missing.value.code is invalid.value.code is grpc.StatusCode.UNAUTHENTICATED
    assert forbidden.value.code is grpc.StatusCode.PERMISSION_DENIED
    assert forbidden.value.metadata == {"role": "viewer"}


@pytest.mark.parametrize(
    "headers",
    [
        ["zart_token-of-viewer"],
        ["Basic zart_token-of-viewer"],
        ["Bearer"],
        ["Bearer "],
        ["Bearer zart_token-of-viewer x"],
        ["Bearer ZART_TOKEN-OF-VIEWER"],
        ["Bearer zart_token-of-viewer", "Bearer zart_token-of-viewer"],
    ],
)
async def test_other_headers_do_not_hold(connect: Connect, headers: list[str]) -> None:
    rpc: Any = connect("").channel.unary_unary("/zart.v1.ExecutionService/ListExecutions")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await rpc(b"", metadata=[("authorization", header) for header in headers])

    assert isinstance(errors.from_call(caught.value), errors.InvalidCredentials)


async def test_the_scheme_may_be_written_in_any_case(connect: Connect) -> None:
    rpc: Any = connect("").channel.unary_unary("/zart.v1.ExecutionService/ListExecutions")

    await rpc(b"", metadata=[("authorization", "bearer zart_token-of-viewer")])


async def test_the_file_is_followed(connect: Connect, tokens: TokenFile) -> None:
    async def knows(name: str) -> bool:
        try:
            await connect(name).list_executions()
        except errors.InvalidCredentials:
            return False
        return True

    tokens.add("late", "viewer")
    await eventually(lambda: knows("late"))
    tokens.remove("viewer")

    async def forgot() -> bool:
        return not await knows("viewer")

    await eventually(forgot)

    # What cannot be used changes nothing, until it can be again.
    tokens.path.write_text("{")
    tokens.add("later", "viewer")
    await eventually(lambda: knows("later"))
    assert await knows("late")


@pytest.mark.parametrize(
    ("line", "where"),
    [
        ("secret", "line 1 cannot be used: no JSON object"),
        ('{"name": "secret"}', "line 1 cannot be used: roles, sha256"),
        ('{"name": "", "roles": [], "sha256": "x"}', "line 1 cannot be used: name, sha256"),
        (json.dumps({"name": "a", "roles": ["secret"], "sha256": "0" * 64}), "roles.0"),
        (json.dumps({"name": "a", "roles": [], "sha256": "0" * 64, "secret": 1}), "secret"),
        ("\n".join([json.dumps({"name": "a", "roles": [], "sha256": "0" * 64})] * 2), "two lines"),
    ],
)
def test_a_file_that_cannot_be_used_stops_the_start(
    zart_database: str, tmp_path: Path, line: str, where: str
) -> None:
    path = tmp_path / "tokens"
    path.write_text(line)

    with (
        pytest.raises(StartError, match=f"{path}.*{where}"),
        serving(zart_database, auth_tokens=path),
    ):
        pass


def test_zart_token_makes_a_token_and_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["token", "ci", "--role", "starter", "--role", "viewer"]) == 0
    token, line = capsys.readouterr().out.splitlines()
    other_options = ["--role", "dispatcher", "--task", "a", "--task", "b b"]

    assert json.loads(line) == {
        "name": "ci",
        "roles": ["starter", "viewer"],
        "sha256": hashlib.sha256(token.encode()).hexdigest(),
    }
    assert len(token) >= 43  # 256 bits

    path = tmp_path / "tokens"
    path.write_text("# no line break at the end")
    assert main(["token", "d", *other_options, "--add-to", str(path)]) == 0
    assert main(["token", "e", *other_options, "--add-to", str(path)]) == 0
    lines = path.read_text().splitlines()
    assert [json.loads(each)["name"] for each in lines[1:]] == ["d", "e"]
    assert json.loads(lines[1])["tasks"] == ["a", "b b"]
    made = capsys.readouterr().out.split()
    assert made[0] != made[1]
    assert hashlib.sha256(made[0].encode()).hexdigest() == json.loads(lines[1])["sha256"]


def test_zart_token_makes_a_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    assert main(["token", "ci", "--role", "admin", "--add-to", str(path)]) == 0

    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "arguments",
    [["x"], ["x", "--role", "king"], ["", "--role", "admin"], ["a\nb", "--role", "admin"]],
)
def test_zart_token_refuses_what_the_server_would(arguments: list[str]) -> None:
    assert main(["token", *arguments]) == 2


@pytest.fixture
async def of_t(connect: Connect, tokens: TokenFile) -> zart.Client:
    """A dispatcher of one task, whom the server knows."""
    tokens.add("of-t", "dispatcher", tasks=["t"])
    client = connect("of-t")

    async def known() -> bool:
        try:
            await client.lease_tasks("d", ["t"])
        except errors.InvalidCredentials:
            return False
        return True

    await eventually(known)
    return client


async def test_a_dispatcher_of_named_tasks_dispatches_no_others(
    connect: Connect, of_t: zart.Client
) -> None:
    await of_t.register_task("t", [zart.StepSpec("a")])
    await connect("dispatcher").register_task("other", [zart.StepSpec("a")])
    await connect("starter").start("other", execution_id="x")

    # A task that is there and one that is not: the answers are the same.
    refusals: list[Any] = []
    for names in (["other"], ["absent"], ["t", "other"]):
        with pytest.raises(errors.RoleRequired) as caught:
            await of_t.lease_tasks("d", names)
        refusals.append((caught.value.message, dict(caught.value.metadata)))
    for name in ("other", "absent"):
        with pytest.raises(errors.RoleRequired) as caught:
            await of_t.register_task(name, [zart.StepSpec("b")])
        refusals.append((caught.value.message, dict(caught.value.metadata)))
    assert refusals == [refusals[0]] * 5
    assert (await connect("viewer").get_task_definition("other")).version == 1


@pytest.mark.parametrize("what", ["lease", "report"])
@pytest.mark.parametrize("way", ["call", "stream"])
async def test_the_role_is_judged_before_what_else_is_wrong(
    of_t: zart.Client, what: str, way: str
) -> None:
    stub = DispatchServiceStub(of_t.channel)

    async def refusal(*task_names: str) -> str:
        lease = pb.LeaseTasksRequest(dispatcher_id="d", task_names=task_names)  # no max_tasks
        more = pb.LeaseNext(task_names=task_names)
        report = pb.ReportTasksRequest(lease_next=more)  # no dispatcher_id either
        if way == "stream":
            stream = stub.DispatchTasks()
            await stream.write(
                pb.DispatchTasksRequest(lease=lease)
                if what == "lease"
                else pb.DispatchTasksRequest(report=report)
            )
            answer = await anext(aiter(stream))
            stream.cancel()
            return str(answer.error)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await (stub.LeaseTasks(lease) if what == "lease" else stub.ReportTasks(report))
        return str(errors.from_call(caught.value))

    assert "of each task named" in await refusal("other")
    assert "max_tasks" in await refusal("t") or what == "report"


async def test_a_dispatcher_of_named_tasks_asks_for_no_others_with_a_report(
    connect: Connect, of_t: zart.Client
) -> None:
    await of_t.register_task("t", [zart.StepSpec("a"), zart.StepSpec("b", ("a",))])
    await connect("starter").start("t", execution_id="x")
    (task,) = await of_t.lease_tasks("d", ["t"])
    stub = DispatchServiceStub(of_t.channel)
    done = pb.TaskOutcome(
        task_id=task.task_id,
        lease_token=task.lease_token,
        completed=pb.TaskCompleted(result_json="1"),
    )

    def report(*task_names: str) -> pb.ReportTasksRequest:
        more = pb.LeaseNext(task_names=task_names, max_tasks=1)
        return pb.ReportTasksRequest(dispatcher_id="d", outcomes=[done], lease_next=more)

    for names in (["other"], ["absent"], ["t", "other"]):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ReportTasks(report(*names))
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert isinstance(errors.from_call(caught.value), errors.RoleRequired)
    steps = (await connect("viewer").get_execution("x")).steps
    assert {step.step_name: step.status for step in steps} == {"a": "RUNNING", "b": "PENDING"}

    answer = await stub.ReportTasks(report("t"))
    assert [result.status for result in answer.results] == [pb.REPORT_STATUS_RECORDED]
    assert [following.step_name for following in answer.tasks] == ["b"]
