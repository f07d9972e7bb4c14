"""The flags of each command: complete, and as help and documents show them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
from client.scripted import METHODS, Run

from zart.cli.flags import PARAMETERS
from zart.cli.main import app
from zart.cli.session import Session

COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "deploy/README.md", *sorted(ROOT.glob("docs/*.md"))]
NOT_ON_THE_COMMAND_LINE = {"page_token", "steps", "kind"}
SWITCHES = {
    "audit": {"statuses", "include_batch_items"},  # --refused and --all
    "complete-step": {"skip"},  # another command
    "skip-step": {"skip", "result", "result_json"},
}


@pytest.mark.parametrize(
    ("command", "method"),
    [
        ("start", "StartExecution"), ("list", "ListExecutions"), ("status", "GetStep"),
        ("status", "GetExecution"), ("why", "ExplainStep"), ("errors", "ListErrorGroups"), ("watch", "WatchExecution"), ("cancel", "CancelExecution"),
        ("tasks", "ListTaskDefinitions"), ("retry-step", "RetryStep"), ("restart", "Restart"),
        ("skip-step", "CompleteStep"), ("complete-step", "CompleteStep"), ("fail-step", "FailStep"),
        ("rerun", "Rerun"), ("pause", "Pause"), ("resume", "Resume"), ("runs", "ListRuns"),
        ("diff", "CompareRuns"),
        ("pause-list", "ListPauseRules"), ("verify", "VerifyPauseRule"), ("audit", "ListOperations"),
    ],
)  # fmt: skip
def test_every_field_has_a_flag(command: str, method: str) -> None:
    parameters = {p.name for p in COMMANDS[command].params}
    for field in METHODS[method].input_type.fields:
        name = PARAMETERS.get(field.name, field.name)
        if field.name in SWITCHES.get(command, ()):
            continue
        assert name in parameters or field.name in NOT_ON_THE_COMMAND_LINE, field.name


def test_every_help_ends_with_an_example_that_the_command_takes(run: Run) -> None:
    for name, command in COMMANDS.items():
        _, out, _, _ = run(f"{name} --help")
        words = shlex.split(out.strip().splitlines()[-1])
        assert words[:3] == ["Example:", "zart", name]
        with command.make_context(name, words[3:], obj=Session()):
            pass
    assert run("--help")[1].strip().endswith("Example: zart list --status failed")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documented_lines_are_ones_that_zart_takes(document: Path) -> None:
    lines = re.findall(
        r"^(?:\S+=\S+ )*(?:\.venv/bin/)?zart (.*?)(?: [>&].*)?$", document.read_text(), re.MULTILINE
    )
    for line in lines:
        name, *words = shlex.split(line.replace("…", "X"), comments=True)
        with COMMANDS[name].make_context(name, words, obj=Session()):
            pass
