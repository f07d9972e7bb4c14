"""The lines that are told to be pasted go to the server that was typed, and are written in one place."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from client.each_command import COMMANDS
from client.scripted import EXECUTION, RULE, RUN, Run, refusal
from client.test_batches_of_ids import MADE
from google.rpc import code_pb2

import zart.cli
from zart.cli import batch_making, drained, releasing
from zart.cli.screen import ReaderLeft
from zart.v1 import admin_service_pb2 as admin
from zart.v1 import (
    batch_pb2,
    batch_service_pb2,
    breaker_pb2,
    breaker_service_pb2,
    explain_pb2,
    retention_pb2,
)
from zart.v1 import execution_pb2 as states
from zart.v1 import execution_service_pb2 as execution
from zart.v1 import pause_rule_pb2 as rules
from zart.v1 import retention_service_pb2 as retention

FAILED = states.Step(
    step_name="a",
    status=states.STEP_STATUS_DEAD,
    attempts=[states.Attempt(attempt=1, status=states.ATTEMPT_STATUS_FAILED)],
)
EXPLAINED = explain_pb2.ExplainedStep(
    step_name="a", status=states.STEP_STATUS_DEAD, next_command=["zart", "retry-step", "x y", "a"]
)
PAUSED = batch_pb2.Batch(
    batch_id="ba-7k2m9x4q",
    status=batch_pb2.BATCH_STATUS_PAUSED,
    counts=batch_pb2.BatchCounts(selected=2, pending=2),
)
RELEASING = refusal(
    code_pb2.FAILED_PRECONDITION, "RULE_RELEASING", "it is RELEASING", rule_id="pr-abcd1234"
)
NO_TASK = refusal(code_pb2.NOT_FOUND, "TASK_DEFINITION_NOT_FOUND", "no task 'tt'")
MADE_BATCH = ("CreateBatch", batch_service_pb2.CreateBatchResponse(batch=MADE))
LINES: dict[str, tuple[str, list[Any], str]] = {
    "why": (
        "why 'x y' a",
        [("ExplainStep", execution.ExplainStepResponse(steps=[EXPLAINED]))],
        "retry-step 'x y' a",
    ),
    "status": (
        "status x",
        [
            (
                "GetExecution",
                execution.GetExecutionResponse(execution=EXECUTION, run=RUN, steps=[FAILED]),
            )
        ],
        "status x a",
    ),
    "breaker delete": (
        "breaker delete br-7k2m9x4q",
        [
            (
                "DeleteBreaker",
                breaker_service_pb2.DeleteBreakerResponse(
                    breaker=breaker_pb2.Breaker(), left_rule_id="pr-abcd1234"
                ),
            )
        ],
        "resume --rule-id pr-abcd1234",
    ),
    "pause-update": (
        "pause-update pr-abcd1234 --forever",
        [
            ("GetPauseRule", admin.GetPauseRuleResponse(rule=RULE)),
            ("UpdatePauseRule", RELEASING),
        ],
        "stop-release pr-abcd1234",
    ),
    "retention set": (
        "retention set tt 30d",
        [
            (
                "SetRetention",
                retention.SetRetentionResponse(retention=retention_pb2.TaskRetention()),
            ),
            ("GetTaskDefinition", NO_TASK),
            ("ListExecutions", execution.ListExecutionsResponse()),
            ("ListRetention", retention.ListRetentionResponse()),
        ],
        "tasks",
    ),
    "batch": (
        "batch restart --everything --yes",
        [MADE_BATCH, ("WatchBatch", [batch_service_pb2.WatchBatchResponse(batch=PAUSED)])],
        "batch resume ba-7k2m9x4q",
    ),
}
TYPED = "ipv4:10.0.0.1:50051,10.0.0.2:50051"


def pasted(seen: str, last: str) -> list[str]:
    """Return the words of the one line of ``zart`` that ends so."""
    (line,) = [
        line for line in seen.splitlines() if re.search(rf"\bzart .*{re.escape(last)}$", line)
    ]
    return shlex.split(line[line.index("zart ") :])


@pytest.mark.parametrize("name", LINES)
def test_a_line_asks_the_server_that_was_typed(
    run: Run, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Else it would be done to another one: the variable's, or the one of this machine."""
    line, answers, told = LINES[name]
    words = shlex.split(told)
    monkeypatch.setenv("ZART_ADDRESS", "staging:50051")  # as in the shell that it is pasted into
    for typed in (f"--address {TYPED} {line}", f"--address other:1 {line} --address {TYPED}"):
        _, out, err, _ = run(typed, *answers)
        assert pasted(out + err, told) == ["zart", "--address", TYPED, *words]
    _, out, err, _ = run(line, *answers)
    assert pasted(out + err, told) == ["zart", *words]


def test_an_address_is_quoted_for_a_shell(run: Run) -> None:
    line, answers, told = LINES["pause-update"]
    _, _, err, _ = run(f"--address 'a b;c' {line}", *answers)
    assert err.splitlines()[-1] == f"zart --address 'a b;c' {told}"


@pytest.mark.parametrize("how", [KeyboardInterrupt, ReaderLeft])
@pytest.mark.parametrize(
    ("module", "line", "answer", "told"),
    [
        (drained, "pause --task-name t --wait --yes",
         ("Pause", admin.PauseResponse(rule=RULE, running_steps=1)),
         "resume --rule-id pr-abcd1234"),
        (batch_making, "batch restart --everything --yes", MADE_BATCH,
         "batch cancel ba-7k2m9x4q"),
        (releasing, "resume --rule-id pr-abcd1234 --rate 1/s --yes",
         ("Resume", admin.ResumeResponse(rules=[rules.PauseRule(
             rule_id="pr-abcd1234", status=rules.PAUSE_RULE_STATUS_RELEASING)])),
         "stop-release pr-abcd1234"),
    ],
)  # fmt: skip
def test_who_stops_following_is_told_the_line_that_ends_it(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    module: Any,
    line: str,
    answer: Any,
    told: str,
    how: type[BaseException],
) -> None:
    def left(*_: Any, **__: Any) -> Iterator[Any]:
        raise how
        yield

    monkeypatch.setattr(module, "watched", left)
    monkeypatch.setattr("zart.cli.session.Session.is_interactive", True)
    code, _, err, _ = run(f"{line} --address {TYPED}", answer)
    assert code == (141 if how is ReaderLeft else 130)
    assert pasted(err, told) == ["zart", "--address", TYPED, *shlex.split(told)]


CLI = Path(zart.cli.__file__).parent
# What is said of a command, and not to be pasted: help, and what stands in an error about itself.
SAID = {
    "commands.py": {"List pause rules: the same as zart rules."},
    "rules.py": {"List pause rules: the same as zart rules."},
    "processes.py": {
        "Ask who calls: `zart token` makes it.",
        (
            "a database is needed: ZART_DATABASE_URL, ZART_DATABASE_URL_FILE, or --database-url,"
            " which everybody on the machine sees; `zart dev` brings one of its own"
        ),
    },
}
_A_COMMAND = re.compile(rf"\bzart (?:{'|'.join(map(re.escape, COMMANDS))}|\{{)(?![\w-])")


def texts(tree: ast.Module) -> Iterator[str]:
    """Return the texts of a module but for docstrings; what is filled in is ``{}``."""
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and isinstance(node.body[0], ast.Expr)
    }
    within = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for part in node.values
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [str(p.value) if isinstance(p, ast.Constant) else "{}" for p in node.values]
            yield "".join(parts)
        elif isinstance(node, ast.Constant) and id(node) not in docs | within:
            yield str(node.value)


def written_here(path: Path) -> set[str]:
    """Return what a module says that looks like a line of ``zart``, or like the words of one."""
    tree = ast.parse(path.read_text())
    lists = [node.elts for node in ast.walk(tree) if isinstance(node, ast.List) and node.elts]
    words = {ast.unparse(first) for first, *_ in lists} & {"'zart'"}
    return {text for text in texts(tree) if _A_COMMAND.search(text)} | words


def test_one_module_writes_lines_to_be_pasted() -> None:
    """The others would drop what was typed: they give it their words."""
    found = {path.name: written_here(path) for path in CLI.glob("*.py")}
    assert len(found) > 50
    assert found.pop("typed_line.py") == {"'zart'"}
    # A refusal of what stands before a command, and the example below each help.
    of_itself = {
        "given.py": {"`zart {}` has no use for it"},
        "main.py": {"zart {}"},  # its version
        "options.py": {"Example: zart {}"},
    }
    assert {name: said for name, said in found.items() if said} == SAID | of_itself


def test_the_others_quote_no_line_but_their_options() -> None:
    quoting = {path.name for path in CLI.glob("*.py") if "command_line" in path.read_text()}
    assert quoting == {"shell.py", "typed_line.py", "batch_settings.py"}
