"""The commands that tell who did what: of one execution, and of all."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from zart.calls.audit import list_operations, list_rule_holds
from zart.calls.execution import get_execution
from zart.cli import render
from zart.cli.completing import batch_ids
from zart.cli.operation_rows import NOT_DONE, OPERATIONS, decided, operation_row
from zart.cli.options import ExecutionId, Limit, example, reads
from zart.cli.session import Session
from zart.cli.tables import NAMES, TEXT, Column
from zart.cli.values import names_of, refuse_no_time, time_of
from zart.errors import ExecutionNotFound, UnknownMethod
from zart.former import FormerOperations
from zart.models import Operation, OperationKind, OperationStatus, RuleHold, RuleHolds

app = typer.Typer()
_SINCE = timedelta(days=7)  # where nothing else keeps the list short
_FIRST = datetime.min.replace(tzinfo=UTC)
_COLUMNS = (
    Column("AGE"),
    Column("WHAT"),
    Column("STATUS"),
    Column("ON", words=NAMES),
    Column("BY", rank=1, words=NAMES),
    Column("IDENTITY", rank=4),
    Column("INCIDENT", rank=3),
    Column("WHY", rank=2, words=TEXT),
)


_OTHERS = "there may be others, of earlier runs or older rules"
_HOLDS = (
    Column("RULE"),
    Column("RUN", rank=1),
    Column("STEP", words=NAMES),
    Column("FROM"),
    Column("UNTIL"),
    Column("BY", rank=2),
    Column("REASON", rank=3, words=TEXT),
)


@app.command(epilog=example("history order-7"))
@reads
def history(
    session: Session,
    execution_id: ExecutionId,
    holds: Annotated[
        bool, typer.Option("--holds", help="Only which pause rules held it, also as JSON.")
    ] = False,
    limit: Limit = 50,
) -> None:
    """Tell who did what to an execution, and which pause rules held it, newest first."""
    if holds:
        session.run(list_rule_holds(execution_id), lambda found: _show_holds(session, found))
        return
    call = list_operations(execution_id=execution_id)
    if not session.run_list(call, limit, OPERATIONS, operation_row, _AboveFormer()):
        session.send(get_execution(execution_id))  # or there is none of this id, which fails
    if session.is_json:  # which has one list
        return
    # One that was purged has a history all the same; an older server does not know of holds.
    with contextlib.suppress(ExecutionNotFound, UnknownMethod):
        _, found = session.send(list_rule_holds(execution_id))
        if found.holds:
            session.print("", "held by pause rules:")
            _show_holds(session, found)
        elif found.is_partial:
            session.tell(_OTHERS)


class _AboveFormer:
    """Tells the line above the first operation on an execution that had the id before."""

    def __init__(self) -> None:
        self._former = FormerOperations()
        self._began: datetime | None = None
        self._is_told = False

    def __call__(self, o: Operation) -> str:
        is_start = o.kind is OperationKind.START
        is_former = self._former.reached(is_start=is_start, is_of_run=o.run_number is not None)
        if is_former and not self._is_told:
            self._is_told = True
            began = render.when(self._began)
            return f"before {began}: of another execution with this id, since removed"
        if is_start and not is_former:
            self._began = o.created_at
        return ""


def _show_holds(session: Session, found: RuleHolds) -> None:
    session.print_table(_HOLDS, list(map(_hold_row, found.holds)))
    if found.is_partial:
        session.tell(_OTHERS)


def _hold_row(hold: RuleHold) -> Sequence[str]:
    return (
        hold.rule_id,
        str(hold.run_number),
        hold.step_name,
        render.when(hold.held_from),
        render.when(hold.held_until) or "now",
        hold.created_by,
        hold.reason,
    )


@app.command(epilog=example("audit --incident INC-7 --all"))
@reads
def audit(
    session: Session,
    created_after: Annotated[
        str | None,
        typer.Option(
            "--since",
            help="Only since this age, such as 2h, or time.",
            show_default="7d before --until or now; none with --by, --incident or an id",
            metavar="AGE|TIME",
        ),
    ] = None,
    created_before: Annotated[
        str | None,
        typer.Option("--until", help="Only before this age or time.", metavar="AGE|TIME"),
    ] = None,
    kinds: Annotated[
        list[str] | None,
        typer.Option("--kind", help="Only of these: pause,resume. May be repeated."),
    ] = None,
    triggered_by: Annotated[str, typer.Option("--by", help="Only of who claimed to be this.")] = "",
    principal: Annotated[
        str, typer.Option("--identity", help="Only of who was verified to be this.")
    ] = "",
    incident: Annotated[str, typer.Option("--incident", help="Only of this incident.")] = "",
    execution_id: Annotated[
        str, typer.Option("--execution-id", help="Only on this execution.")
    ] = "",
    rule_id: Annotated[str, typer.Option("--rule-id", help="Only on this pause rule.")] = "",
    batch_id: Annotated[
        str, typer.Option("--batch-id", help="Only of this batch.", autocompletion=batch_ids)
    ] = "",
    breaker_id: Annotated[str, typer.Option("--breaker-id", help="Only of this breaker.")] = "",
    refused: Annotated[bool, typer.Option("--refused", help="What was refused.")] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Also what was refused, or only planned.")
    ] = False,
    batch_items: Annotated[
        bool, typer.Option("--batch-items", help="Also what batches did, item by item.")
    ] = False,
    limit: Limit = 50,
) -> None:
    """Tell who did what, newest first; starts only if --kind names them."""
    if refused and everything:
        raise typer.BadParameter("stands alone: leave it or --all out", param_hint="--refused")
    wanted = _kinds_of(kinds)
    names = (triggered_by, principal, incident, rule_id, batch_id, breaker_id)
    has_starts = OperationKind.START in wanted or not any(names)
    now = datetime.now(UTC)
    since, until = time_of(created_after, "--since", now), time_of(created_before, "--until", now)
    refuse_no_time(("--since", since), ("--until", until))
    is_bounded = since is None and has_starts and not execution_id
    if is_bounded:
        since = max(until or datetime.now(UTC), _FIRST + _SINCE) - _SINCE
    statuses = [OperationStatus.REFUSED] if refused else []
    if everything:
        statuses = [OperationStatus.DONE, OperationStatus.PLANNED, OperationStatus.REFUSED]
    call = list_operations(
        execution_id=execution_id,
        kinds=wanted,
        triggered_by=triggered_by,
        principal=principal,
        created_after=since,
        created_before=until,
        incident=incident,
        batch_id=batch_id,
        rule_id=rule_id,
        breaker_id=breaker_id,
        statuses=statuses,
        include_batch_items=batch_items,
    )
    session.run_list(call, limit, _COLUMNS, _row_at(datetime.now(UTC)))
    if is_bounded and (until or wanted or statuses):  # else it is what everybody expects
        session.warn(f"only since {render.when(since)}: --since says otherwise")


def _kinds_of(texts: list[str] | None) -> list[OperationKind]:
    known = [each for each in OperationKind if each is not OperationKind.UNSPECIFIED]
    found = []
    for name in names_of(texts, "--kind"):
        value = name.upper().replace("-", "_")
        if value not in known:
            those = ", ".join(each.lower() for each in known)
            raise typer.BadParameter(f"{name!r} is none of {those}", param_hint="--kind")
        found.append(OperationKind(value))
    return found


def _row_at(now: datetime) -> Callable[[Operation], Sequence[str]]:
    def row(o: Operation) -> Sequence[str]:
        return (
            render.age(o.created_at, now),
            o.kind,
            o.status if o.status in NOT_DONE else "",
            _on(o),
            o.triggered_by,
            o.principal,
            o.incident,
            _why(o),
        )

    return row


def _on(operation: Operation) -> str:
    """Name what it was done to."""
    of = operation.execution_id
    if of and operation.step_name:
        of = f"{of}/{operation.step_name}"
    names = (of or operation.task_name, operation.rule_id, operation.batch_id, operation.breaker_id)
    return " ".join(filter(None, names))


def _why(operation: Operation) -> str:
    """Write why it was refused, what was decided, and the reason that was given."""
    refusal = operation.refusal
    told = f"{refusal.reason}: {refusal.message}" if refusal else ""
    return " · ".join(filter(None, (told, decided(operation), operation.reason)))
