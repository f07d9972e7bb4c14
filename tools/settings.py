"""Writes the page of all settings: those of servers, of options with a variable, and of callers.

``python tools/settings.py OUTPUT``. Fails where a setting says nothing of itself, or is read by the
client and is not among those told here.
"""

from __future__ import annotations

import re
import sys
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import annotated_types
import typer

import zart
from zart.cli.main import app
from zart_server.settings import Settings

_HEAD = """# Settings

Written by `make settings` from what the processes themselves read; a test compares. Each setting is
an environment variable, and some are options of a command as well, which go first. A server refuses
to start where one cannot be right, and says which; what it does not know it leaves alone. Where one
that guards is given but blank, nothing starts: it is not taken for one that is not given. Times are
in seconds. A file that a setting names is followed where [security.md](security.md) says so.
"""
_TABLE = ("| variable | values | without it | meaning |", "|---|---|---|---|")
_READ = re.compile(r"\bZART_[A-Z_]*[A-Z]\b")


class Row(NamedTuple):
    """A setting as the page shows it."""

    name: str
    values: str
    default: str
    meaning: str


# Read by the client itself, for the command, dispatchers, gateways and programs of one's own.
_CALLERS = (
    Row("ZART_ADDRESS", "HOST:PORT, or several: ipv4:A:1,B:2", "127.0.0.1:50051",
        "where the server is, if no `--address` is typed; of a name with several addresses"
        " all are called in turn"),
    Row("ZART_TOKEN", "text", "–", "a static token or a JWT, shown with each call"),
    Row("ZART_TOKEN_FILE", "a file", "–", "a file that holds it, and may be replaced"),
    Row("ZART_TLS_CA", "a file, or `system`", "–",
        "turns TLS on: the authorities that sign the server's certificate"),
    Row("ZART_TLS_CERT", "a file", "–", "the caller's own certificate chain, in PEM"),
    Row("ZART_TLS_KEY", "a file", "–", "its key, in PEM"),
    Row("ZART_INSECURE", "1 or 0", "0", "send a token without TLS beyond loopback"),
    Row("ZART_KEEPALIVE", "from 0 to 86400", "3",
        "between pings while a call is open; 0: none"),
)  # fmt: skip


def of_the_server() -> Iterator[Row]:
    """Yield the settings of a server."""
    for name, field in Settings.model_fields.items():
        variable = f"ZART_{name.upper()}"
        if not field.description:
            raise SystemExit(f"{variable}: say in its Field what it means")
        default = "needed" if field.is_required() else shown(field.default)
        values = values_of(field.annotation, field.metadata)
        yield Row(variable, values, default, field.description)


def values_of(annotation: object, metadata: Iterable[Any]) -> str:
    """Return in words what a field takes."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        (annotation,) = (each for each in typing.get_args(annotation) if each is not type(None))
    if typing.get_origin(annotation) is typing.Annotated:
        annotation, *more = typing.get_args(annotation)
        metadata = (*metadata, *more)
    if typing.get_origin(annotation) is typing.Literal:
        return ", ".join(f"`{each}`" for each in typing.get_args(annotation))
    if annotation is bool:
        return "1 or 0"
    if annotation in (int, float):
        return bounds_of(metadata) or "a number"
    return "a file" if annotation is Path else "text"


def bounds_of(metadata: Iterable[Any]) -> str:
    """Return the bounds of a number in words."""
    words = []
    for bound in metadata:
        if isinstance(bound, annotated_types.Gt):
            words.append(f"more than {bound.gt}")
        elif isinstance(bound, annotated_types.Ge):
            words.append(f"from {bound.ge}")
        elif isinstance(bound, annotated_types.Le):
            words.append(f"to {bound.le}")
    return " ".join(words)


def range_of(option: Any) -> Iterator[annotated_types.BaseMetadata]:  # noqa: ANN401 - typer's
    """Yield the bounds of an option: its own, or those of its type, whichever typer has."""
    bounded = option if hasattr(option, "min") else option.type
    if (least := getattr(bounded, "min", None)) is not None:
        yield annotated_types.Ge(least)
    if (most := getattr(bounded, "max", None)) is not None:
        yield annotated_types.Le(most)


def shown(default: object) -> str:
    """Return a default as it is written into a variable."""
    if isinstance(default, bool):
        return str(int(default))
    if isinstance(default, float):
        return f"{default:g}"
    return "–" if default in (None, "") else str(default)


def of_the_command(name: str) -> Iterator[Row]:
    """Yield the options of a command that have a variable, but for those of every command."""
    command: Any = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]  # a group has commands
    callers = {row.name for row in _CALLERS[:1]}
    for option in command.params:
        variable = option.envvar
        if not variable or variable in callers:
            continue
        if not option.help:
            raise SystemExit(f"zart {name} {option.opts[0]}: say in its help what it means")
        values = option.metavar or values_of(type(option.default), range_of(option))
        meaning = f"`{option.opts[0]}`: {option.help.rstrip('.')}"
        is_told = isinstance(option.show_default, str)
        default = option.show_default if is_told else shown(option.default)
        yield Row(variable, values.replace("FILE", "a file"), default, meaning)


def page() -> str:
    """Return the whole page."""
    parts: Mapping[str, Iterable[Row]] = {
        "Servers": of_the_server(),
        "Gateways": of_the_command("gateway"),
        "Dispatchers": of_the_command("dispatch"),
        "Whoever calls a server": _CALLERS,
        "Operators' commands": of_the_command("retry-step"),
        "Logs of gateways and dispatchers, as of servers": (
            row for row in of_the_server() if row.name.startswith("ZART_LOG_")
        ),
    }
    text = _HEAD
    told = set()
    for title, rows in parts.items():
        lines = [f"| `{r.name}` | {r.values} | {r.default} | {r.meaning} |" for r in rows]
        told |= set(_READ.findall("\n".join(lines)))
        text += "\n".join((f"\n## {title}\n", *_TABLE, *lines, ""))
    sources = Path(zart.__file__).parent.rglob("*.py")
    if missing := {name for path in sources for name in _READ.findall(path.read_text())} - told:
        raise SystemExit(f"tell here what these mean: {', '.join(sorted(missing))}")
    return text


def main(output: str) -> None:
    """Write the page."""
    Path(output).write_text(page())


if __name__ == "__main__":
    main(sys.argv[1])
