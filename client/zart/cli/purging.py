"""The commands that remove what has ended by hand, and tell how much there is."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Annotated, Any

import typer
from google.protobuf.message import Message

from zart.calls import retention as calls
from zart.cli.filter_options import TaskName
from zart.cli.options import example, plans, reads
from zart.cli.render import when
from zart.cli.retention import warn_if_unknown
from zart.cli.session import Session
from zart.cli.tables import Column
from zart.cli.values import span_of
from zart.models import Purged, PurgedTask, Stats, StatusStats, TableStats

app = typer.Typer()
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_TELL_EVERY = 2.0  # seconds: a call removes what it can in half a second
_STATUSES = (Column("STATUS"), Column("EXECUTIONS"), Column("OLDEST", rank=1))
_TABLES = (
    Column("TABLE"),
    Column("ROWS"),
    Column("SIZE"),
    Column("INDEXES", rank=1),
    Column("DEAD ROWS", rank=2),
)


def _told(answer: Purged) -> list[str]:
    verb = "would be removed" if answer.planned else "removed"
    more = ", or more" if answer.planned and answer.is_partial else ""
    kept = f", {answer.kept_executions} kept" if answer.kept_executions else ""
    lines = [
        f"{task.task_name}: {task.removed_executions} {verb}"
        + (f", {task.kept_executions} kept" if task.kept_executions else "")
        for task in answer.tasks
    ]
    lines.append(
        f"{answer.removed_executions}{more} {verb}{kept}, ended before {when(answer.ended_before)}"
    )
    if answer.kept_executions:
        lines.append("kept: in doubt, in an unfinished batch, tried by a breaker, or locked then")
    return lines


@app.command(epilog=example("purge --older-than 30d --task-name mail --dry-run"))
@plans
def purge(
    session: Session,
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="30d", help="Ended longer ago than this.")
    ],
    task_name: Annotated[str | None, TaskName] = None,
) -> None:
    """Remove finished executions that ended longer ago."""
    span = span_of(older_than, "--older-than") or timedelta()
    options: dict[str, Any] = {"task_name": task_name, **session.mutation.fields}
    token = session.plan.plan_token
    if session.plan.dry_run:
        call = calls.purge_executions(span, **options, **session.plan.fields)
        session.run(call, lambda answer: session.print(*_told(answer)))
        if task_name is not None:
            warn_if_unknown(session, task_name)
        return
    if not token and not session.mutation.yes:
        token = _ask(session, span, options)
    _Purge(session, span, options | {"plan_token": token}).run()


class _Purge:
    """Removes call by call what a caller has agreed to, and tells how much that is by then."""

    def __init__(self, session: Session, span: timedelta, options: dict[str, Any]) -> None:
        self._session = session
        self._span = span
        self._options = options
        self._removed: Counter[str] = Counter()
        self._kept: Counter[str] = Counter()
        self._is_begun = False

    def run(self) -> None:
        """Remove all of it, and tell the total; stopped midway it tells what has gone."""
        try:
            message, answer = self._to_its_end()
        except BaseException as error:
            if self._is_begun:
                is_stopped = isinstance(error, KeyboardInterrupt)  # and no Status follows
                tell = self._session.warn if is_stopped else self._session.tell
                tell(f"removed {self._removed.total()} so far")
            raise
        if answer.is_partial:  # as a server says that knows of no tokens
            self._session.warn("there may be more: run it again")
        tasks = [
            PurgedTask(name, count, self._kept[name])
            for name, count in sorted(self._removed.items())
        ]
        _tell(self._session, message, replace(answer, tasks=tuple(tasks)))
        task_name = self._options["task_name"]
        if task_name is not None and not tasks:
            warn_if_unknown(self._session, task_name)

    def _to_its_end(self) -> tuple[Message, Purged]:
        page_token = ""
        tell_at = 0.0
        while True:
            call = calls.purge_executions(self._span, **self._options, page_token=page_token)
            message, answer = self._session.send(call)
            self._is_begun = True
            for task in answer.tasks:
                self._removed[task.task_name] += task.removed_executions
                self._kept[task.task_name] += task.kept_executions
            if answer.next_page_token in ("", page_token):
                self._session.is_answered = True
                return message, answer
            if answer.replayed and self._session.mutation.may_repeat and not page_token:
                self._session.tell("it was begun before: what went since then is not in the total")
            page_token = answer.next_page_token
            self._options["request_id"] = ""  # the next call is another one
            self._session.is_answered = False  # nor is it done before the last one is
            if time.monotonic() >= tell_at:
                self._session.tell(f"removed {self._removed.total()} …")
                tell_at = time.monotonic() + _TELL_EVERY


def _tell(session: Session, message: Message, total: Purged) -> None:
    """Tell what all calls removed, given the last answer as it came."""
    if session.is_json:
        message.ClearField("tasks")
        for task in total.tasks:
            message.tasks.add(**asdict(task))  # type: ignore[attr-defined]  # a message known by its fields
        session.print_json(message)
        return
    session.print(*_told(total))


def _ask(session: Session, span: timedelta, options: dict[str, Any]) -> str:
    """Show what would be removed, and ask; return the token of just that."""
    if not session.is_interactive:
        raise typer.BadParameter("nobody is there to be asked: say --yes, or give --plan-token")
    planning = options | {"request_id": ""}
    _, planned = session.send(calls.purge_executions(span, **planning, validate_only=True))
    for line in _told(planned):
        session.asking.line(line)
    session.confirm("remove them? they do not come back")
    return planned.plan_token


def _size(count: int) -> str:
    """Write a number of bytes."""
    size = float(count)
    for unit in _UNITS:
        if size < 1024 or unit == _UNITS[-1]:  # noqa: PLR2004 - of the next unit
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError


def _status_row(s: StatusStats) -> Sequence[str]:
    more = "+" if s.is_lower_bound else ""
    return (s.status, f"{s.executions}{more}", when(s.oldest_created_at))


def _table_row(t: TableStats) -> Sequence[str]:
    rows = "?" if t.rows < 0 else f"~{t.rows}"
    return (t.table_name, rows, _size(t.bytes), _size(t.index_bytes), f"~{t.dead_rows}")


@app.command(epilog=example("stats"))
@reads
def stats(session: Session) -> None:
    """Tell how much there is: executions by status, and the size of each table."""

    def show(found: Stats) -> None:
        session.print_table(_STATUSES, list(map(_status_row, found.statuses)))
        session.print_table(_TABLES, list(map(_table_row, found.tables)))
        session.print(f"the database: {_size(found.database_bytes)}")
        if found.oldest_operation_at is not None:
            session.print(f"the oldest operation: {when(found.oldest_operation_at)}")

    session.run(calls.get_stats(), show)
