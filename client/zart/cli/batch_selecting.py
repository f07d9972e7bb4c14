"""Which executions a batch is to be of, by the options that say so."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from zart.calls.filters import ExecutionFilter
from zart.cli import completing
from zart.cli.session import Session

Everything = Annotated[bool, typer.Option("--everything", help="All executions there are.")]
ExecutionIds = Annotated[
    list[str] | None,
    typer.Option(
        "--execution-id",
        metavar="ID",
        help="This one; may be given more than once.",
        autocompletion=completing.execution_ids,
    ),
]
IdsFrom = Annotated[
    str | None,
    typer.Option("--ids-from", metavar="FILE", help="These: an id a line; - is standard input."),
]
# What is done by hand is of steps, which no id names: the server refuses ids, so no help has them.
NoExecutionIds = Annotated[list[str] | None, typer.Option("--execution-id", hidden=True)]
NoIdsFrom = Annotated[str | None, typer.Option("--ids-from", hidden=True)]
_STANDARD_INPUT = "-"
_VALUES = ("input", "payload", "result")  # options that may be read from standard input, too


def selected(session: Session, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the selection that the options of a command say, as create_batch takes it.

    What the server refuses of it is told of the option that was given. Raises BadParameter unless
    exactly one way is taken, and for ids that cannot be read.
    """
    wanted: ExecutionFilter = given["wanted"]
    named, file = given["execution_ids"] or [], given["ids_from"]
    is_filtered = bool(wanted.to_message().ListFields())
    is_named = bool(named) or file is not None
    if is_filtered + is_named + given["everything"] != 1:
        raise typer.BadParameter(
            "say which executions: by a filter, by --execution-id and --ids-from, or --everything,"
            " and by one of these only"
        )
    if file == _STANDARD_INPUT and _STANDARD_INPUT in map(given.get, _VALUES):
        raise typer.BadParameter("standard input can be one thing only", param_hint="--ids-from")
    if is_named:
        by = ["--execution-id"] * bool(named) + ["--ids-from"] * (file is not None)
        _told_as(session, ", ".join(by))
        return {"execution_ids": [*named, *_ids_of(file)]}
    if given["everything"]:
        _told_as(session, "--everything")
        return {"everything": True}
    return {"filter": wanted}


def _told_as(session: Session, option: str) -> None:
    """Have what is wrong with the selection told of this option, and not of the filter."""
    fields = {"selection": option, "execution_ids": option}
    session.parameters = {**session.parameters, **fields}


def _ids_of(file: str | None) -> list[str]:
    """Read ids, one a line; a line without anything to see is none. Raises BadParameter."""
    if file is None:
        return []
    where = "standard input" if file == _STANDARD_INPUT else file
    try:
        is_typed = file == _STANDARD_INPUT
        content = sys.stdin.buffer.read() if is_typed else Path(file).read_bytes()
        lines = content.decode("utf-8-sig").split("\n")
    except OSError as error:
        why = f"{where}: {error.strerror or error}"
        raise typer.BadParameter(why, param_hint="--ids-from") from None
    except UnicodeDecodeError:
        raise typer.BadParameter(f"{where} is no UTF-8", param_hint="--ids-from") from None
    # An id may begin and end with blanks: of a line only its end is left out.
    ids = [line.removesuffix("\r") for line in lines if line.strip()]
    if not ids:
        raise typer.BadParameter(f"{where} names no execution", param_hint="--ids-from")
    return ids
