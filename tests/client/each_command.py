"""Each command that asks a server, as it is typed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from zart.cli.main import app

COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
# They ask for nothing of many: they run something, or write a file.
_OF_PROCESSES = {"serve", "migrate", "dispatch", "dev", "protos", "health", "gateway", "token"}


def _commands() -> Iterator[tuple[str, Any]]:
    for name, found in COMMANDS.items():
        if name not in _OF_PROCESSES:
            for part, command in getattr(found, "commands", {"": found}).items():
                yield f"{name} {part}".strip(), command


EACH = dict(_commands())
