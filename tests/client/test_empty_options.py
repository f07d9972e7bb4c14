"""What is given empty, as ``--task-name "$UNSET"`` is, never counts as not given: about all there is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from client.each_command import EACH
from client.scripted import RUN, Run

from zart.cli.main import main
from zart.v1 import admin_service_pb2 as admin

# What an empty one means, of the options that may be empty.
MEANS = {
    "--address": "where ZART_ADDRESS says, or the default",
    "--message": "what the server refuses",
}
MEANS_OF_CHANGES = {
    "--triggered-by": "user@host",
    "--reason": "none",
    "--incident": "none, whatever ZART_INCIDENT says",
    "--request-id": "a new one",
}
NEEDED = {
    "failure_threshold": "1",
    "finding": "happened",
    "keep_for": "30d",
    "older_than": "30d",
    "result": "1",
    "window": "1m",
}


def written(parameter: Any) -> str:
    """Return an option as it is typed; empty of an argument."""
    return "" if parameter.param_type_name == "argument" else max(parameter.opts, key=len)


def words(command: Any, empty: Any, text: str) -> Iterator[str]:
    """Yield what a command needs, and one of its parameters as ``text``."""
    for parameter in command.params:
        if parameter is empty or parameter.required:
            if option := written(parameter):
                yield option
            yield text if parameter is empty else NEEDED.get(parameter.name, "x")


@pytest.mark.parametrize("line", EACH)
@pytest.mark.parametrize("text", ["", " "])
def test_an_empty_option_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, line: str, text: str
) -> None:
    monkeypatch.delenv("ZART_INCIDENT", raising=False)
    command = EACH[line]
    is_change = any(parameter.name == "request_id" for parameter in command.params)
    may_be_empty = MEANS.keys() | (MEANS_OF_CHANGES.keys() if is_change else set())
    taken, asked = [], []

    def nobody(address: str | None) -> Any:
        asked.append(address)
        raise ValueError("a server was asked")

    for parameter in command.params:
        option = written(parameter)
        if getattr(parameter, "is_flag", False) or option in may_be_empty:
            continue
        code = main([*line.split(), *words(command, parameter, text)], nobody)
        is_told = re.search(rf"Invalid value for '?{option}", capsys.readouterr().err)
        if asked or code != 2 or not is_told:
            taken.append(option or parameter.name)
            asked.clear()
    assert taken == []


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("batch cancel-execution --task-name t --status , --yes", "--status: ',' names nothing"),
        ("list --step-status dead --step-status ' , '", "--step-status: ' , ' names nothing"),
        ("batch list --status ,", "--status: ',' names nothing"),
        ("audit --kind ,", "--kind: ',' names nothing"),
        ("rerun x --rerun ,", "--rerun: ',' names nothing"),
        ("batch rerun --everything --preserve , --yes", "--preserve: ',' names nothing"),
        ("batch rerun --everything --force , --yes", "--force: ',' names nothing"),
    ],
)
def test_a_list_without_a_name_is_refused(run: Run, line: str, told: str) -> None:
    code, _, err, requests = run(line)
    assert (code, requests) == (2, [])
    assert told in err


def test_an_empty_variable_of_the_environment_is_as_not_given(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ZART_INCIDENT", "ZART_TRIGGERED_BY", "ZART_ADDRESS"):
        monkeypatch.setenv(name, "")
    restarted = ("Restart", admin.RestartResponse(new_run_number=1, run=RUN))
    code, _, err, (request,) = run("restart x", restarted)
    assert (code, err, request.incident) == (0, "", "")
    assert request.triggered_by


def test_an_incident_of_the_environment_can_be_left_out(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZART_INCIDENT", "INC-7")
    restarted = ("Restart", admin.RestartResponse(new_run_number=1, run=RUN))
    code, _, err, (request,) = run("restart x --incident '' --reason ''", restarted)
    assert (code, err, request.incident) == (0, "", "")
