"""Makes a batch for a command: shows its plan, asks, and follows it."""

from __future__ import annotations

from typing import Any

import typer

from zart.calls import batch as calls
from zart.cli.bar import Bar
from zart.cli.batch_lines import batch_lines, counts_of, plan_lines
from zart.cli.batch_selecting import selected
from zart.cli.batch_stops import advise_paused
from zart.cli.planning import planned
from zart.cli.screen import ReaderLeft
from zart.cli.session import Session
from zart.cli.values import rate_of
from zart.cli.watching import watched
from zart.models import Batch, BatchPauseCause, BatchStatus, CreatedBatch, OperationKind
from zart.models.batch_operations import BatchOperation, FailStep

# It ended with refused items or dead steps, or was paused at its failures; or somebody paused or
# cancelled it.
_BADLY = 4
_BAD_CAUSES = (BatchPauseCause.MAX_FAILURES, BatchPauseCause.OPERATOR)


def create_batch(session: Session, operation: BatchOperation, given: dict[str, Any]) -> None:
    """Plan the batch, ask, make it, and follow it. ``given`` are the options of its command.

    Raises BadParameter, also where nobody is there to be asked.
    """
    options = {
        **selected(session, given),
        "rate_per_second": rate_of(given["rate"], "--rate"),
        "canary": given["canary"],
        "max_failures": given["max_failures"],
        **session.mutation.fields,
    }
    token = session.plan.plan_token
    if session.plan.dry_run:
        session.run(
            calls.create_batch(operation, **options, **session.plan.fields), _show_plan(session)
        )
        return
    if not token and not session.mutation.yes:
        token = _ask(session, operation, options)
    message, created = session.send(calls.create_batch(operation, **options, plan_token=token))
    batch = created.batch
    if batch is None:
        raise LookupError("the server made no batch, and no plan")
    if not given["no_wait"]:
        message, batch = _follow(session, batch.batch_id)
    if session.is_json:
        session.print_json(message)
    else:
        session.print(*batch_lines(batch))
    if not given["no_wait"] and _ended_badly(batch):
        raise typer.Exit(_BADLY)


def _show_plan(session: Session) -> Any:  # noqa: ANN401 - shows an answer
    def show(answer: CreatedBatch) -> None:
        if answer.plan is not None:
            session.print(*plan_lines(answer.plan))

    return show


def _ask(session: Session, operation: BatchOperation, options: dict[str, Any]) -> str:
    """Show what the batch would do, and ask; return the token of just that."""
    if not session.is_interactive:
        raise typer.BadParameter("nobody is there to be asked: say --yes, or give --plan-token")
    plan_options = options | {"request_id": ""}
    call = calls.create_batch(operation, **plan_options, validate_only=True)
    shown = planned(session, call, OperationKind.CREATE_BATCH)
    if shown is None:
        return ""
    for line in plan_lines(shown.plan) if shown.plan is not None else ():
        session.asking.line(line)
    session.confirm("do it?")
    return shown.plan_token


def _follow(session: Session, batch_id: str) -> tuple[Any, Batch]:
    """Watch a batch until it is over or paused; Ctrl-C leaves it going."""
    call = calls.watch_batch(batch_id)
    try:
        with Bar(session.err) as bar:
            for message in watched(session, call, bar=bar):
                batch = call.read(message)
                passed = batch.counts.done + batch.counts.refused
                bar.show(counts_of(batch.counts), passed, batch.counts.selected)
                if batch.status is BatchStatus.PAUSED:
                    break
    except (KeyboardInterrupt, ReaderLeft):
        session.advise(f"{batch_id} goes on; this ends it", "batch", "cancel", batch_id)
        raise
    if batch.status is BatchStatus.PAUSED and session.has_people:
        advise_paused(session, batch)
    return message, batch


def _ended_badly(batch: Batch) -> bool:
    is_wanted = isinstance(batch.operation, FailStep)
    dead = 0 if batch.outcomes is None or is_wanted else batch.outcomes.dead
    # What failed is counted when the server pauses it; the watch may not have been told of it yet.
    is_stopped = batch.status is BatchStatus.CANCELLED or batch.pause_cause in _BAD_CAUSES
    return is_stopped or bool(batch.counts.refused or dead)
