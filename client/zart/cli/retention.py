"""The commands of retention: for how long finished executions are kept."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated

import typer

from zart.calls import retention as calls
from zart.calls.definitions import get_task_definition
from zart.calls.filtered import list_executions
from zart.calls.filters import ExecutionFilter
from zart.cli.completing import task_names
from zart.cli.options import Limit, example, mutates, reads
from zart.cli.render import when
from zart.cli.session import Session
from zart.cli.tables import TEXT, Column
from zart.cli.values import counted, span_of
from zart.errors import Refused, TaskDefinitionNotFound, Unreachable
from zart.models import RetentionSet, RetentionUnset, ServerRetention, TaskRetention

app = typer.Typer()
retention = typer.Typer(
    help="For how long finished executions are kept before they are removed.",
    epilog=example("retention list"),
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(retention, name="retention")

_FOR_EVER = "forever"
_UNITS = (
    ("d", timedelta(days=1)),
    ("h", timedelta(hours=1)),
    ("m", timedelta(minutes=1)),
    ("s", timedelta(seconds=1)),
)
Task = Annotated[str, typer.Argument(metavar="TASK", autocompletion=task_names)]
_SHOWN = (
    Column("TASK"),
    Column("KEPT FOR"),
    Column("SET", rank=1),
    Column("BY", rank=2),
    Column("REASON", rank=3, words=TEXT),
)


def kept_for(span: timedelta | None) -> str:
    """Write for how long something is kept."""
    if span is None:
        return _FOR_EVER
    unit, size = next(((u, s) for u, s in _UNITS if not span % s), _UNITS[-1])
    return f"{span / size:.6f}".rstrip("0").rstrip(".") + unit


def _row(t: TaskRetention) -> Sequence[str]:
    return (t.task_name, kept_for(t.keep_for), when(t.set_at), t.triggered_by, t.reason)


def warn_if_unknown(session: Session, task: str) -> None:
    """Say so on standard error where there is nothing of a task: it may be misspelt."""
    try:
        if not _is_known(session, task):
            text = f"there is no task {task!r}, nor an execution of it"
            session.advise(f"{text}; this lists the tasks that there are", "tasks")
    except (Refused, Unreachable, TimeoutError):  # what was asked for has been done all the same
        session.warn(f"whether there is a task {task!r} could not be looked up")


def _is_known(session: Session, task: str) -> bool:
    try:
        session.send(get_task_definition(task))
    except TaskDefinitionNotFound:  # executions may have brought their own
        of_it = ExecutionFilter(task_name=task)
        return bool(session.client.send(list_executions(of_it, page_size=1)).items)
    return True


@retention.command("list", epilog=example("retention list"))
@reads
def list_(session: Session, limit: Limit = 0) -> None:
    """List for how long finished executions are kept, by task, and of all others."""
    session.run_list(calls.list_retention(), limit, _SHOWN, _row)
    if session.is_json:
        return

    def show(found: ServerRetention) -> None:
        session.print(
            f"all other tasks: {kept_for(found.keep_for)};"
            f" operations: {kept_for(found.keep_operations_for)}"
        )

    session.run(calls.get_retention(), show)


@retention.command("set", epilog=example("retention set mail 30d"))
@mutates
def set_(
    session: Session,
    task_name: Task,
    keep_for: Annotated[str, typer.Argument(metavar="SPAN", help="30d, 12h, or forever.")],
) -> None:
    """Set for how long finished executions of a task are kept."""
    span = None if keep_for == _FOR_EVER else span_of(keep_for, "SPAN")
    _confirm_removal(session, task_name, span)

    def show(answer: RetentionSet) -> None:
        found = answer.retention
        session.print(f"{found.task_name}: kept for {kept_for(found.keep_for)}")

    session.run(calls.set_retention(task_name, span, **session.mutation.fields), show)
    warn_if_unknown(session, task_name)
    _warn_if_longer_than_operations(session, span)


def _confirm_removal(session: Session, task: str, span: timedelta | None) -> None:
    """Tell what would be over its time at once, and ask, where somebody is there."""
    if span is None or session.mutation.yes or not session.is_interactive:
        return
    plan = session.client.send(calls.purge_executions(span, task_name=task, validate_only=True))
    if plan.removed_executions or plan.is_partial:
        more = " or more" if plan.is_partial else ""
        session.asking.line(
            f"kept for {kept_for(span)}: {counted(plan.removed_executions, 'execution', more)}"
            f" of {task} ended before {when(plan.ended_before)}"
        )
        session.confirm("have them removed? they do not come back")


def _warn_if_longer_than_operations(session: Session, span: timedelta | None) -> None:
    """Say so on standard error where operations go before the executions that they were on."""
    try:
        _, kept = session.send(calls.get_retention())
    except (Refused, Unreachable, TimeoutError):  # as above
        return
    operations = kept.keep_operations_for
    if operations is not None and (span is None or span > operations):
        session.warn(
            f"operations are kept for {kept_for(operations)}: who did what to an execution is"
            " forgotten before the execution is removed"
        )


@retention.command(epilog=example("retention unset mail"))
@mutates
def unset(session: Session, task_name: Task) -> None:
    """Have what the servers are set to hold of a task again."""
    if session.is_interactive and not session.mutation.yes:
        span = session.client.send(calls.get_retention()).keep_for
        _confirm_removal(session, task_name, span)

    def show(answer: RetentionUnset) -> None:
        was = "nothing was set" if answer.was is None else kept_for(answer.was.keep_for)
        session.print(f"{task_name}: unset; until now: {was}")

    session.run(calls.unset_retention(task_name, **session.mutation.fields), show)
