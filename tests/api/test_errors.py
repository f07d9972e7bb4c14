"""The error table of the contract, one by one: code, reason, fields; and that it is total."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from kinds import with_reasons
from rig import CHAIN, Rig
from stored import count_operations

import zart
from zart import errors as client_errors
from zart.v1 import admin_service_pb2, error_reason_pb2
from zart_server.api.errors import CODES, status_of
from zart_server.domain import errors as server_errors
from zart_server.domain.plans import PlanToken

Code = grpc.StatusCode
PROTOS = Path(__file__).parents[2] / "protos/zart/v1"


async def setup(rig: Rig) -> None:
    """An execution that failed at b, a finished one, an unfinished one, a cancelled one."""
    await rig.dead("failed", CHAIN, step="b")
    await rig.start("done", {"a": ()})
    await rig.work()
    await rig.start("open", CHAIN)
    await rig.start("cancelled", {"a": (), "b": ()})
    await rig.fail(await rig.lease_one("a", "cancelled"))
    await rig.client.cancel_execution("cancelled")


Call = Callable[[zart.Client], Awaitable[object]]
STEPS = [zart.StepSpec("a")]
OTHER_PLAN = PlanToken(datetime.now(UTC), b"a restart", ()).to_text()
CYCLE = [zart.StepSpec("a", ("b",)), zart.StepSpec("b", ("a",))]
TABLE: list[tuple[str, Call, Code, str, str | None]] = [
    ("bad id", lambda c: c.restart(""), Code.INVALID_ARGUMENT, "INVALID_FIELD", "execution_id"),
    ("bad glob", lambda c: c.pause(step_pattern="["), Code.INVALID_ARGUMENT, "INVALID_FIELD",
     "step_pattern"),
    ("negative size", lambda c: c.list_runs("open", page_size=-1).pages().__anext__(),
     Code.INVALID_ARGUMENT, "INVALID_FIELD", "page_size"),
    ("unknown step in force_rerun", lambda c: c.rerun("failed", force_rerun=["z"]),
     Code.INVALID_ARGUMENT, "INVALID_FIELD", "force_rerun[0]"),
    ("unknown step in preserve", lambda c: c.rerun("failed", preserve=["a", "z"]),
     Code.INVALID_ARGUMENT, "INVALID_FIELD", "preserve[1]"),
    ("a step in both", lambda c: c.rerun("failed", force_rerun=["a"], preserve=["a"]),
     Code.INVALID_ARGUMENT, "INVALID_FIELD", "preserve[0]"),
    ("empty pause scope", lambda c: c.pause(), Code.INVALID_ARGUMENT, "INVALID_FIELD",
     "everything"),
    ("everything with a scope", lambda c: c.pause(everything=True, task_name="t"),
     Code.INVALID_ARGUMENT, "INVALID_FIELD", "everything"),
    ("resume: everything with a scope", lambda c: c.resume(everything=True, task_name="t"),
     Code.INVALID_ARGUMENT, "INVALID_FIELD", "everything"),
    ("rule_id with a scope", lambda c: c.resume(rule_id="pr-00000000", task_name="t"),
     Code.INVALID_ARGUMENT, "INVALID_FIELD", "rule_id"),
    ("expiry in the past", lambda c: c.pause(task_name="t", expires_in=-1),
     Code.INVALID_ARGUMENT, "INVALID_FIELD", "expires_in"),
    ("cyclic dependency", lambda c: c.start("t", steps=CYCLE), Code.INVALID_ARGUMENT,
     "INVALID_FIELD", "steps[0].depends_on"),
    ("unknown dependency", lambda c: c.start("t", steps=[zart.StepSpec("a", ("z",))]),
     Code.INVALID_ARGUMENT, "INVALID_FIELD", "steps[0].depends_on[0]"),
    ("duplicate step name", lambda c: c.start("t", steps=STEPS * 2), Code.INVALID_ARGUMENT,
     "INVALID_FIELD", "steps[1].step_name"),
    ("no steps to register", lambda c: c.register_task("t", []), Code.INVALID_ARGUMENT,
     "INVALID_FIELD", "definition.steps"),
    ("set but empty", lambda c: c.pause(task_name=""), Code.INVALID_ARGUMENT, "INVALID_FIELD",
     "task_name"),
    ("no budget", lambda c: c.retry_step("failed", "b", max_attempts=0), Code.INVALID_ARGUMENT,
     "INVALID_FIELD", "max_attempts"),
    ("unknown execution", lambda c: c.restart("nobody"), Code.NOT_FOUND, "EXECUTION_NOT_FOUND",
     None),
    ("unknown step", lambda c: c.retry_step("failed", "z"), Code.NOT_FOUND, "STEP_NOT_FOUND",
     None),
    ("unknown run", lambda c: c.get_execution("open", run_number=7), Code.NOT_FOUND,
     "RUN_NOT_FOUND", None),
    ("unknown rule", lambda c: c.resume(rule_id="pr-nobody12"), Code.NOT_FOUND,
     "PAUSE_RULE_NOT_FOUND", None),
    ("unknown task", lambda c: c.start("nobody"), Code.NOT_FOUND, "TASK_DEFINITION_NOT_FOUND",
     None),
    ("taken id", lambda c: c.start("t", execution_id="open", steps=STEPS), Code.ALREADY_EXISTS,
     "EXECUTION_EXISTS", None),
    ("exempt too many", lambda c: c.update_pause_rule("pr-x", exempt=["x"] * 1001),
     Code.RESOURCE_EXHAUSTED, "TOO_MANY_ITEMS", "add_exempt_execution_ids"),
    ("exempt of an unknown rule", lambda c: c.update_pause_rule("pr-nobody12", exempt=["x"]),
     Code.NOT_FOUND, "PAUSE_RULE_NOT_FOUND", None),
    ("not dead", lambda c: c.retry_step("failed", "a"), Code.FAILED_PRECONDITION,
     "STEP_NOT_DEAD", None),
    ("run finished", lambda c: c.cancel_execution("done"), Code.FAILED_PRECONDITION,
     "RUN_FINISHED", None),
    ("retry in a cancelled run", lambda c: c.retry_step("cancelled", "a"),
     Code.FAILED_PRECONDITION, "RUN_FINISHED", None),
    ("run active", lambda c: c.restart("open", if_running="fail"), Code.FAILED_PRECONDITION,
     "RUN_ACTIVE", None),
    ("rerun of an active run", lambda c: c.rerun("open", if_running="fail"),
     Code.FAILED_PRECONDITION, "RUN_ACTIVE", None),
    ("nothing to rerun", lambda c: c.rerun("done"), Code.FAILED_PRECONDITION,
     "NOTHING_TO_RERUN", None),
    ("run changed", lambda c: c.restart("open", expected_run_number=3), Code.ABORTED,
     "RUN_CHANGED", None),
    ("plan changed", lambda c: c.rerun("failed", plan_token=OTHER_PLAN), Code.ABORTED,
     "PLAN_CHANGED", None),
    ("no plan", lambda c: c.rerun("failed", plan_token="old"), Code.INVALID_ARGUMENT,
     "INVALID_FIELD", "plan_token"),
    ("payload too large", lambda c: c.start("t", "x" * 1_048_577, steps=STEPS),
     Code.RESOURCE_EXHAUSTED, "PAYLOAD_TOO_LARGE", "payload_json"),
    ("too many items",
     lambda c: c.batch_start_executions([zart.Start("t", None, "", STEPS)] * 1001),
     Code.RESOURCE_EXHAUSTED, "TOO_MANY_ITEMS", "requests"),
    ("too many steps", lambda c: c.start("t", steps=[zart.StepSpec(f"s{n}") for n in range(10_001)]),
     Code.RESOURCE_EXHAUSTED, "TOO_MANY_ITEMS", "steps"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("call", "code", "reason", "field"), [t[1:] for t in TABLE], ids=[t[0] for t in TABLE]
)
async def test_the_table(rig: Rig, call: Call, code: Code, reason: str, field: str | None) -> None:
    await setup(rig)
    before = await count_operations(rig.db)
    with pytest.raises(client_errors.Refused) as refused:
        await call(rig.client)

    error = refused.value
    assert (error.code, error.reason) == (code, reason)
    assert type(error) is client_errors.BY_REASON[reason]
    if code is Code.INVALID_ARGUMENT:
        assert list(error.fields) == [field]
    elif field is not None:
        assert error.metadata["field"] == field
    assert await count_operations(rig.db) == before


async def test_run_not_current(rig: Rig) -> None:
    await rig.dead("x", CHAIN, step="b")
    await rig.client.restart("x")
    with pytest.raises(client_errors.RunNotCurrent) as refused:
        await rig.client.retry_step("x", "b", run_id="x:run:0")
    assert refused.value.code is Code.FAILED_PRECONDITION
    assert refused.value.metadata["current_run_number"] == "1"


async def test_the_order_of_checks(rig: Rig) -> None:
    """Arguments, then replay, the execution, expected_run_number and run_id, step, state."""
    await setup(rig)
    call = rig.client.retry_step
    with pytest.raises(client_errors.InvalidField):
        await call("nobody", "", expected_run_number=9)
    with pytest.raises(client_errors.ExecutionNotFound):
        await call("nobody", "z", expected_run_number=9)
    with pytest.raises(client_errors.RunChanged):
        await call("failed", "z", expected_run_number=9)
    with pytest.raises(client_errors.StepNotFound):
        await call("failed", "z")
    with pytest.raises(client_errors.StepNotDead):
        await call("failed", "a")
    with pytest.raises(client_errors.RunChanged):
        await rig.client.restart("open", if_running="fail", expected_run_number=9)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"force_rerun": ["a"], "preserve": ["c", "a"]}, "preserve[1]"),
        ({"preserve": ["a"], "inputs": {"b": 1, "a": 2}}, "inputs[1].step_name"),
    ],
    ids=["a step in both", "an input of a step that is preserved"],
)
async def test_what_contradicts_itself_is_told_before_what_is_not_there(
    rig: Rig, fields: dict[str, Any], field: str
) -> None:
    await setup(rig)
    for execution_id in ("nobody", "failed"):
        with pytest.raises(client_errors.InvalidField) as refused:
            await rig.client.rerun(execution_id, expected_run_number=9, **fields)
        assert list(refused.value.fields) == [field]
    with pytest.raises(client_errors.InvalidField, match="base_run_number"):
        await rig.client.compare_runs("nobody", run_number=0)


async def test_an_unknown_method_has_a_reason_too(rig: Rig) -> None:
    from zart.errors import from_call

    nothing: Any = rig.client.channel.unary_unary("/zart.v1.AdminService/Nothing")
    with pytest.raises(grpc.RpcError) as failed:
        await nothing(b"")
    error = from_call(failed.value)
    assert isinstance(error, client_errors.UnknownMethod)
    assert error.code is Code.UNIMPLEMENTED


async def test_malformed_bytes_are_an_invalid_argument(rig: Rig) -> None:
    from zart.errors import from_call

    for raw in (b"\xff\xff\xff", b"\x0a\x02\xc3\x28"):
        restart: Any = rig.client.channel.unary_unary("/zart.v1.AdminService/Restart")
        with pytest.raises(grpc.RpcError) as failed:
            await restart(raw)
        error = from_call(failed.value)
        assert isinstance(error, client_errors.InvalidField)
        assert list(error.fields) == ["request"]


async def test_a_defect_is_internal_with_an_id_and_nothing_else(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    await rig.db.execute("ALTER TABLE zart.operations RENAME TO secret_table")
    with pytest.raises(client_errors.InternalError) as failed:
        await rig.client.restart("x")
    await rig.db.execute("ALTER TABLE zart.secret_table RENAME TO operations")

    assert failed.value.code is Code.INTERNAL
    assert len(failed.value.metadata["error_id"]) == 12
    assert "operations" not in failed.value.message
    assert await rig.run_status() == "SCHEDULED"
    assert len(await rig.client.list_runs("x")) == 1


def test_the_table_is_total() -> None:
    reasons = {
        name.removeprefix("ERROR_REASON_")
        for name in error_reason_pb2.ErrorReason.keys()
        if not name.endswith("UNSPECIFIED")
    }
    server = {kind.reason for kind in with_reasons(server_errors.ZartError)}

    assert set(CODES) == with_reasons(server_errors.ZartError)
    assert server | {"INTERNAL"} == reasons
    assert set(client_errors.BY_REASON) == reasons


def test_every_status_carries_its_reason_and_domain() -> None:
    from google.rpc import error_details_pb2

    status = status_of(server_errors.StoreUnavailable())
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    assert [d.Unpack(info) for d in status.details].count(True) == 1
    assert any(d.Unpack(retry) for d in status.details)
    assert (info.domain, info.reason) == ("zart", "STORE_UNAVAILABLE")
    assert retry.retry_delay.ToTimedelta().total_seconds() > 0


def documented() -> dict[str, set[tuple[str, str]]]:
    """Return the codes and reasons that the comment of each method names, and of each service."""
    codes = "|".join(code.name for code in Code)
    text = "\n".join(path.read_text() for path in sorted(PROTOS.glob("*_service.proto")))
    comments = re.findall(r"((?:^ *//.*\n)+) *(?:rpc|service) (\w+)", text, re.MULTILINE)
    errors: dict[str, set[tuple[str, str]]] = {}
    others: dict[str, set[str]] = {}
    for comment, name in comments:
        said = re.sub(r"\s*//", "", comment).replace("\n", " ")
        errors[name] = {
            (code, reason)
            for code, reasons in re.findall(rf"\b({codes})\s+\(([^)]*)\)", said)
            for reason in re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", reasons)
        }
        _, _, list_of_errors = said.partition("Errors: ")
        others[name] = set(re.findall(r"\b[A-Z]\w+", list_of_errors))
    return {
        name: found.union(*(errors[other] for other in others[name] & errors.keys()))
        for name, found in errors.items()
    }


DOCUMENTED = documented()


def test_every_method_documents_its_errors() -> None:
    methods = admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"].methods

    assert {m.name for m in methods if not DOCUMENTED[m.name]} == {"ListPauseRules"}


def test_each_reason_is_documented_with_its_code() -> None:
    codes = {kind.reason: code.name for kind, code in CODES.items()}
    named = set[tuple[str, str]]().union(*DOCUMENTED.values())

    assert len(named) > 30
    assert {(code, reason) for code, reason in named if codes.get(reason) != code} == set()


@pytest.mark.parametrize(
    ("call", "code", "reason"),
    [(call, code, reason) for _, call, code, reason, _ in TABLE],
    ids=[t[0] for t in TABLE],
)
def test_what_a_method_was_refused_with_it_documents(call: Any, code: Code, reason: str) -> None:
    (called, *_) = call.__code__.co_names
    method = "".join(word.title() for word in called.split("_"))
    method = {"Start": "StartExecution"}.get(method, method)

    # What every call may answer is said of the service.
    assert (code.name, reason) in DOCUMENTED[method] | DOCUMENTED["AdminService"]
