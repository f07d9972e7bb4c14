"""The flags of each command: complete, and as help and documents show them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from client.each_command import COMMANDS
from client.scripted import Run

from zart.cli.session import Session

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "deploy/README.md", *sorted(ROOT.glob("docs/*.md"))]


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
