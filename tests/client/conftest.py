"""The command line against a script."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from client.scripted import Run, Script

from zart.cli.main import main


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command line against a script: exit code, output, errors, requests."""
    monkeypatch.setenv("ZART_TRIGGERED_BY", "ops")
    monkeypatch.delenv("ZART_ADDRESS", raising=False)
    monkeypatch.delenv("ZART_INCIDENT", raising=False)

    def runner(line: str, *answers: Any) -> tuple[int, str, str, list[Any]]:
        script = Script(*answers)
        code = main(shlex.split(line), script.open)
        printed = capsys.readouterr()
        return code, printed.out, printed.err, script.requests

    return runner
