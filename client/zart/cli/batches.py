"""The commands of batches: one operation on many executions, or on steps of them."""

from __future__ import annotations

import enum
from typing import Annotated

import typer

from zart.calls import batch as calls
from zart.calls.payload import UNSET
from zart.cli import batch_doing
from zart.cli.batch_lines import BATCHES, ITEMS, batch_lines, batch_row, item_row
from zart.cli.batch_stops import confirm_going_on
from zart.cli.completing import batch_ids
from zart.cli.options import Limit, example, mutates, reads
from zart.cli.session import Session
from zart.cli.values import names_of, rate_of
from zart.models import BatchItemStatus, BatchStatus, ChangedBatch, StepStatus

app = typer.Typer()
batch = typer.Typer(
    help="Do one operation on many executions, or on steps of them.",
    epilog=example("batch list"),
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(batch, name="batch")
batch.registered_commands += batch_doing.app.registered_commands

BatchId = Annotated[str, typer.Argument(metavar="BATCH_ID", autocompletion=batch_ids)]
Status = Annotated[list[str] | None, typer.Option("--status", help="With one of these statuses.")]
StepStatuses = Annotated[
    list[str] | None, typer.Option("--step-status", help="Whose step is in one of these now.")
]


def _known(texts: list[str] | None, known: type[enum.Enum], option: str) -> list[str]:
    names = names_of(texts, option)
    choices = [one.value for one in known][1:]
    for name in names:
        if name.upper() not in choices:
            told = ", ".join(choices).lower()
            raise typer.BadParameter(f"{name!r} is none of {told}", param_hint=option)
    return names


@batch.command("list", epilog=example("batch list --status running"))
@reads
def list_(session: Session, status: Status = None, limit: Limit = 50) -> None:
    """List batches, newest first."""
    statuses = _known(status, BatchStatus, "--status")
    session.run_list(calls.list_batches(statuses=statuses), limit, BATCHES, batch_row)


@batch.command(epilog=example("batch show ba-7k2m9x4q"))
@reads
def show(session: Session, batch_id: BatchId) -> None:
    """Tell all of a batch, and what became of its items."""
    session.run(calls.get_batch(batch_id), lambda found: session.print(*batch_lines(found)))


@batch.command(epilog=example("batch items ba-7k2m9x4q --status refused"))
@reads
def items(
    session: Session,
    batch_id: BatchId,
    status: Status = None,
    step_status: StepStatuses = None,
    limit: Limit = 50,
) -> None:
    """List the items of a batch, and what became of each."""
    call = calls.list_batch_items(
        batch_id,
        statuses=_known(status, BatchItemStatus, "--status"),
        step_statuses=_known(step_status, StepStatus, "--step-status"),
    )
    session.run_list(call, limit, ITEMS, item_row)


@batch.command(epilog=example("batch update ba-7k2m9x4q --rate 10/s"))
@mutates
def update(
    session: Session,
    batch_id: BatchId,
    rate: batch_doing.Rate = None,
    max_failures: batch_doing.MaxFailures = None,
    unpaced: Annotated[
        bool, typer.Option("--unpaced", help="From now on as fast as it goes.")
    ] = False,
    any_failures: Annotated[
        bool, typer.Option("--any-failures", help="From now on however many fail.")
    ] = False,
) -> None:
    """Change the pace of a batch, or how many failures it bears."""
    pace = rate_of(rate, "--rate")
    if pace is None and max_failures is None and not (unpaced or any_failures):
        raise typer.BadParameter("say what to change, such as --rate 10/s")
    if pace is not None and unpaced:
        raise typer.BadParameter("give --rate or --unpaced, not both")
    if max_failures is not None and any_failures:
        raise typer.BadParameter("give --max-failures or --any-failures, not both")
    call = calls.update_batch(
        batch_id,
        rate_per_second=UNSET if pace is None and not unpaced else pace,
        max_failures=UNSET if max_failures is None and not any_failures else max_failures,
        **session.mutation.fields,
    )
    session.run(call, lambda answer: _changed(session, answer))


@batch.command(epilog=example("batch pause ba-7k2m9x4q --reason 'too many refused'"))
@mutates
def pause(session: Session, batch_id: BatchId) -> None:
    """Have no further item done until it is resumed."""
    call = calls.pause_batch(batch_id, **session.mutation.fields)
    session.run(call, lambda answer: _changed(session, answer))


@batch.command(epilog=example("batch resume ba-7k2m9x4q"))
@mutates
def resume(session: Session, batch_id: BatchId) -> None:
    """Have a paused batch go on; at a terminal it asks where somebody else has paused it."""
    if session.is_interactive and not session.mutation.yes:
        confirm_going_on(session, batch_id)
    call = calls.resume_batch(batch_id, **session.mutation.fields)
    session.run(call, lambda answer: _changed(session, answer))


@batch.command(epilog=example("batch cancel ba-7k2m9x4q --reason 'it was the wrong group'"))
@mutates
def cancel(session: Session, batch_id: BatchId) -> None:
    """End a batch; what it has done stays done."""
    call = calls.cancel_batch(batch_id, **session.mutation.fields)
    session.run(call, lambda answer: _changed(session, answer))


def _changed(session: Session, answer: ChangedBatch) -> None:
    session.print(*batch_lines(answer.batch))
