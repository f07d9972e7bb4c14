"""A command is there at once: it loads what it needs, and the help of all loads none of them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import zart.cli
from zart.cli.commands import MODULES
from zart.cli.main import app

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
SLOW = {
    "asyncio",
    "grpc",
    "google.protobuf",
    "rich",
    "uvloop",
    "pydantic",
    "starlette",
    "zart_server",
}
LOADED = """
import json, sys
from zart.cli import main
code = main(json.loads(sys.argv[1]))
print(json.dumps([code, sorted(sys.modules)]), file=sys.stderr)
"""


def loaded(*line: str) -> set[str]:
    """Run a command line in a process of its own; return the slow modules that it loaded."""
    words = [sys.executable, "-c", LOADED, json.dumps(line)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    code, modules = json.loads(done.stderr.splitlines()[-1])
    assert code in {0, 3}
    return {name for name in modules if name in SLOW or name.startswith("zart.cli.")}


def test_the_help_of_all_loads_no_command() -> None:
    names = loaded("--help")
    assert not names & SLOW
    assert not names & {f"zart.cli.{module}" for module in MODULES}


def test_a_command_loads_no_other() -> None:
    names = loaded("--address", "127.0.0.1:1", "rules", "--timeout", "0.01")
    assert "zart.cli.rules" in names
    assert not names & {"rich", "uvloop", "starlette", "zart_server"}
    others = set(MODULES) - {"rules"}
    assert not names & {f"zart.cli.{module}" for module in others}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_says_what_its_help_says(name: str) -> None:
    (told,) = (commands[name] for commands in MODULES.values() if name in commands)
    assert COMMANDS[name].get_short_help_str(1_000) == told


def test_the_list_is_complete() -> None:
    """Whatever has commands is in the list, or is a part of what is."""
    texts = {path.stem: path.read_text() for path in Path(zart.cli.__path__[0]).glob("*.py")}
    taken = re.compile(r"(?:add_typer\(|registered_commands \+= )(\w+)\.app")
    parts = {name for text in texts.values() for name in taken.findall(text)}
    having = {
        name for name, text in texts.items() if re.search(r"^app = typer", text, re.MULTILINE)
    }
    assert having - parts - {"main"} == MODULES.keys()
    for module, commands in MODULES.items():
        part = __import__(f"zart.cli.{module}", fromlist=["app"])
        assert set(typer.main.get_group(part.app).commands) == set(commands)
