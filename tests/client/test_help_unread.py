"""Help that nobody reads, or that is not written, ends as every other output does."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from zart.cli.main import main

LINES = ["--help", "list --help", "batch restart --help", "serve --help"]


@pytest.mark.parametrize("line", LINES)
def test_help_that_nobody_reads_ends_with_141(monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", encoding="utf-8") as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        assert main(line.split()) == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a disk that is full")
@pytest.mark.parametrize("line", LINES)
def test_help_that_no_disk_has_room_for_is_told_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    with Path("/dev/full").open("w") as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        assert main(line.split()) == 3
    told, again, repeated = capsys.readouterr().err.splitlines()
    assert told.startswith("zart: the output cannot be written: ")
    assert (again, repeated) == ("to try again:", f"zart {line}")
