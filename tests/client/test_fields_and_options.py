"""What the server refuses of a field is told of the option that fills it: nobody typed the field."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from client.each_command import EACH
from client.scripted import METHODS, Run, refusal
from google.protobuf.descriptor import Descriptor
from google.rpc import code_pb2, error_details_pb2

from zart.cli.flags import TOGETHER, in_flags
from zart.cli.given import shown
from zart.cli.main import main
from zart.testing.server import ServerUnderTest
from zart_server.domain.breakers import SETTINGS

# What each command is there to ask for.
ASKS = {
    "start": ["StartExecution", "RunExecution"],
    "list": ["ListExecutions"],
    "tasks": ["ListTaskDefinitions"],
    "status": ["GetExecution", "GetStep"],
    "watch": ["WatchExecution"],
    "wait": ["WatchExecution"],
    "cancel": ["CancelExecution"],
    "errors": ["ListErrorGroups"],
    "why": ["ExplainStep"],
    "retry-step": ["RetryStep"],
    "restart": ["Restart"],
    "rerun": ["Rerun"],
    "runs": ["ListRuns"],
    "complete-step": ["CompleteStep"],
    "skip-step": ["CompleteStep"],
    "fail-step": ["FailStep"],
    "in-doubt": ["ListInDoubt"],
    "resolve": ["ResolveInDoubt"],
    "diff": ["CompareRuns"],
    "pause": ["Pause"],
    "resume": ["Resume"],
    "pause-list": ["ListPauseRules", "GetPauseRule"],
    "rules": ["ListPauseRules", "GetPauseRule"],
    "stop-release": ["StopRelease"],
    "exempt": ["UpdatePauseRule"],
    "pause-update": ["UpdatePauseRule", "GetPauseRule"],
    "breaker create": ["CreateBreaker"],
    "breaker list": ["ListBreakers"],
    "breaker show": ["GetBreaker"],
    "breaker update": ["UpdateBreaker"],
    "breaker delete": ["DeleteBreaker"],
    "breaker trip": ["TripBreaker"],
    "breaker reset": ["ResetBreaker"],
    "batch list": ["ListBatches"],
    "batch show": ["GetBatch"],
    "batch items": ["ListBatchItems"],
    "batch update": ["UpdateBatch"],
    "batch pause": ["PauseBatch"],
    "batch resume": ["ResumeBatch"],
    "batch cancel": ["CancelBatch"],
    "batch retry-step": ["CreateBatch"],
    "batch restart": ["CreateBatch"],
    "batch rerun": ["CreateBatch"],
    "batch cancel-execution": ["CreateBatch"],
    "batch complete-step": ["CreateBatch"],
    "batch fail-step": ["CreateBatch"],
    "retention list": ["ListRetention"],
    "retention set": ["SetRetention"],
    "retention unset": ["UnsetRetention"],
    "export": ["ListExecutions"],
    "purge": ["PurgeExecutions"],
    "stats": ["GetStats"],
    "verify": ["VerifyPauseRule"],
    "history": ["ListRuleHolds"],
    "audit": ["ListOperations"],
}
# What no command takes from whoever types it: it cannot be wrong.
_MADE = {"page_token", "update_mask"}
_MADE_BY = {
    "start": {"steps", "start.steps"},
    "wait": {"run_number"},
    "complete-step": {"skip"},
    "skip-step": {"skip", "result", "result_json"},
    "exempt": {"expires_at", "expires_in", "never_expires"},
    "pause-update": {"add_exempt_execution_ids", "remove_exempt_execution_ids"},
    "export": {"page_size"},
    "audit": {"kind", "statuses"},  # --kind fills kinds; --refused and --all
}
# They are right or wrong by what they hold.
_HOLDERS = {"breaker", "operation", "start"}
_OF_BREAKERS = {f"breaker.{name}" for name in SETTINGS}


def paths(message: Descriptor, before: str = "") -> Iterator[str]:
    """Yield the paths of all fields, and of what they hold, as the server names them."""
    for field in message.fields:
        path = f"{before}{field.name}{'[0]' if field.is_repeated else ''}"
        yield path
        kind = field.message_type
        if kind is not None and kind.file.package == "zart.v1":
            yield from paths(kind, f"{path}.")


def may_be_wrong(line: str, path: str) -> bool:
    """Return whether a command can have a field of its request refused."""
    plain = path.replace("[0]", "")
    made = _MADE | _MADE_BY.get(line, set())
    if plain in _HOLDERS or any(f"{plain}.".startswith(f"{one}.") for one in made):
        return False
    if plain.startswith("breaker."):
        return plain in _OF_BREAKERS or (plain, line) == ("breaker.breaker_id", "breaker update")
    if plain.startswith("operation."):
        kind = line.removeprefix("batch ").replace("-", "_")
        return plain.startswith(f"operation.{kind}.")
    return True


def test_it_is_known_what_each_command_asks_for() -> None:
    assert ASKS.keys() == EACH.keys()


@pytest.mark.parametrize("line", ASKS)
def test_each_field_that_may_be_wrong_is_told_as_an_option(line: str) -> None:
    options = {parameter.name: shown(parameter) for parameter in EACH[line].params}
    told = {
        path: in_flags(path, "", options).removesuffix(": ")
        for name in ASKS[line]
        for path in paths(METHODS[name].input_type)
        if may_be_wrong(line, path)
    }

    together = {path for path, option in told.items() if option in TOGETHER.values()}
    assert together <= {"filter", "selection", "selection.filter"}
    assert {path for path in told if told[path] not in options.values()} == together


@pytest.mark.parametrize(
    ("line", "method", "field", "what", "told"),
    [
        ("breaker create --task-name t --step [ --failure-threshold 1 --window 1m",
         "CreateBreaker", "breaker.step_pattern", "no end of [", "--step: no end of ["),
        ("breaker update br-1 --unset step", "UpdateBreaker", "breaker.task_name",
         "set task_name, step_pattern, or both",
         "--task-name: set --task-name, --step, or both"),
        ("breaker update br-1 --probe-steps 2", "UpdateBreaker", "breaker.31",
         "is not known to this server", "breaker.31: is not known to this server"),
        ("batch complete-step --task-name t --result 1 --yes", "CreateBatch", "selection",
         "has no condition on steps, such as step_pattern",
         "the filter: has no condition on steps, such as --step"),
        ("batch restart --started-by ann --yes", "CreateBatch", "selection.filter.created_after",
         "is needed beside triggered_by", "--created-after: is needed beside --started-by"),
        ("rerun x --input a=1", "Rerun", "inputs[0].step_name", "is of no step",
         "--input: is of no step"),
        ("pause --task-name t --for 1h --then-rate 200000/s", "Pause",
         "release_on_expiry.rate_per_second", "is 200000", "--then-rate: is 200000"),
        ("retention set t 30d", "SetRetention", "task_name", "is empty", "TASK: is empty"),
        # What a command looks up first is told of what it was looked up by.
        ("exempt pr-1 x --undo", "GetPauseRule", "rule_id", "is empty", "RULE_ID: is empty"),
        ("resolve x a happened", "ListInDoubt", "filter.execution_id_prefix", "is empty",
         "EXECUTION_ID: is empty"),
        ("export x", "GetExecution", "execution_id", "is empty", "[EXECUTION]…: is empty"),
    ],
)  # fmt: skip
def test_a_refused_field_is_told_as_what_was_typed(
    run: Run, line: str, method: str, field: str, what: str, told: str
) -> None:
    violation = error_details_pb2.BadRequest.FieldViolation(field=field, description=what)
    status = refusal(code_pb2.INVALID_ARGUMENT, "INVALID_FIELD", f"{field}: {what}")
    status.details.add().Pack(error_details_pb2.BadRequest(field_violations=[violation]))
    code, _, err, _ = run(line, (method, status))
    assert code == 1
    assert f"zart: {told} [INVALID_FIELD]\n" in err


async def test_a_breaker_that_is_refused_is_told_by_its_options(
    zart_server: ServerUnderTest, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--task-name", "t", "--step", "[", "--failure-threshold", "1", "--window", "2h"]
    create = ["--address", zart_server.address, "breaker", "create", *words]
    assert await asyncio.to_thread(main, create) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("zart: --step: ")
    assert second.startswith("zart: --window: is 7200 s")
