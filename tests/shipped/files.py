"""The files of deploy/, read; and what they may name."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import typer
import yaml

from zart.cli.main import app
from zart.cli.session import Session
from zart_server.settings import Settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
_COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
_SETTING = re.compile(r"\bZART_[A-Z_]*[A-Z]\b")


def texts() -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each file that is shipped, and of the document on them."""
    files = [path for path in DEPLOY.rglob("*") if path.is_file() and "tls" not in path.parts]
    for path in (*files, ROOT / "docs/deploying.md"):
        yield str(path.relative_to(ROOT)), path.read_text()


def settings_in(text: str) -> set[str]:
    """Return the names of settings in a text."""
    return set(_SETTING.findall(text))


def real_settings() -> set[str]:
    """Return the settings that server, gateway, dispatcher and command read."""
    sources = (path.read_text() for path in (ROOT / "client/zart").rglob("*.py"))
    of_the_server = {f"ZART_{name.upper()}" for name in Settings.model_fields}
    return of_the_server | {name for source in sources for name in settings_in(source)}


def check_command(words: Sequence[str]) -> None:
    """Raise a UsageError unless zart takes these words."""
    name, *rest = words
    with _COMMANDS[name].make_context(name, list(rest), obj=Session()):
        pass


def compose() -> dict[str, Any]:
    """Return the compose file, its variables as they are by default."""
    text = (DEPLOY / "compose.yaml").read_text()
    read: dict[str, Any] = yaml.safe_load(re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text))
    return read


def environment_of(path: Path) -> dict[str, str]:
    """Return the variables of a file for EnvironmentFile=."""
    lines = (line for line in path.read_text().splitlines() if line and not line.startswith("#"))
    return {
        name: shlex.split(value)[0] for name, _, value in (line.partition("=") for line in lines)
    }


def environment_of_container(container: dict[str, Any]) -> dict[str, str]:
    """Return the variables of a container of a pod that are given by their values."""
    return {each["name"]: each["value"] for each in container["env"] if "value" in each}


def port_of(listen: str) -> int:
    """Return the port of HOST:PORT."""
    return int(listen.rpartition(":")[2])
