"""The command that prints executions whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Annotated

import typer
from google.rpc import code_pb2, status_pb2

from zart.calls.filtered import list_executions
from zart.calls.filters import ExecutionFilter
from zart.cli.options import example, reads_filtered
from zart.cli.session import Session
from zart.errors import ExecutionNotFound, OperationTimeout, Refused, Unavailable
from zart.exporting import ERRORS_OMITTED

app = typer.Typer()
_PAGE = 1000
# What is refused with these codes is refused of every execution: who calls may not, or nobody may.
_OF_ALL = {"UNAUTHENTICATED", "PERMISSION_DENIED", "UNAVAILABLE", "UNIMPLEMENTED"}


@app.command(epilog=example("export --status completed --task-name mail"))
@reads_filtered
def export(
    session: Session,
    wanted: ExecutionFilter,
    execution_ids: Annotated[
        list[str] | None, typer.Argument(metavar="[EXECUTION]…", help="These.")
    ] = None,
    everything: Annotated[bool, typer.Option("--everything", help="All there are.")] = False,
) -> None:
    """Print executions whole, one a line: runs, steps, attempts and operations."""
    is_filtered = bool(wanted.to_message().ListFields())
    if [bool(execution_ids), is_filtered, everything].count(True) != 1:
        raise typer.BadParameter("say which: EXECUTION…, a filter, or --everything")
    is_whole = True
    found: Iterable[tuple[str, datetime | None]] = (
        [(execution_id, None) for execution_id in execution_ids]
        if execution_ids
        else _found(session, wanted if is_filtered else None)
    )
    for execution_id, created_at in found:
        try:
            line = session.client.export_execution(execution_id, created_at=created_at)
        except ExecutionNotFound as error:
            if execution_ids:
                _say(session, error)
                is_whole = False
            else:  # it was removed since it was listed
                session.tell(f"{execution_id} was removed meanwhile")
            continue
        except Refused as error:
            if not _is_of_one(error):
                raise
            _say(session, error, f"{execution_id} is not exported:")
            is_whole = False
            continue
        session.out.json(line)
        session.out.flush()  # also so that a reader who leaves is noticed before the next one
        if ERRORS_OMITTED in line:  # what purges afterwards is not to go on
            is_whole = False
            _say_cut(session, execution_id)
    if not is_whole:
        raise typer.Exit(1)


def _is_of_one(error: Refused) -> bool:
    """Return whether a call was refused for what it was about: the next one may be answered."""
    if isinstance(error, Unavailable):
        return isinstance(error, OperationTimeout)
    return error.code.name not in _OF_ALL


def _say(session: Session, error: Refused, of: str = "") -> None:
    """Print why one is not exported. What it is ``of`` scripts read in the Status, too."""
    from zart.cli import problems  # noqa: PLC0415 - takes a while, and is seldom needed

    status = status_pb2.Status()
    status.CopyFrom(error.status)
    if of and session.is_json:
        status.message = f"{of} {status.message}"
    elif of:
        session.tell(of)
    problems.say_refused(session, status)


def _say_cut(session: Session, execution_id: str) -> None:
    from zart.cli import problems  # noqa: PLC0415 - as above

    why = (
        f"{execution_id}: of a step errors past 4 MiB are cut,"
        " or attempts before the last 1,000 left out"
    )
    if session.is_json:
        problems.say_own(session, why, code_pb2.RESOURCE_EXHAUSTED)
    else:
        session.tell(why)


def _found(
    session: Session, wanted: ExecutionFilter | None
) -> Iterator[tuple[str, datetime | None]]:
    """Yield the executions of a filter, or all, a page at a time: their ids, and since when.

    By the time that one is read its id may be another one's, which nobody has asked for.
    """
    call = list_executions(wanted, page_size=_PAGE)
    while True:
        page = session.client.send(call)
        for execution in page.items:
            yield execution.execution_id, execution.created_at
        if not page.next_page_token:
            return
        call = call.after(page.next_page_token)
