"""The commands that make a batch: they show its plan, ask, and follow it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from zart.calls import batch as calls
from zart.calls.filters import ExecutionFilter
from zart.calls.payload import UNSET
from zart.cli.bar import Bar
from zart.cli.batch_lines import batch_lines, counts_of, plan_lines
from zart.cli.options import example, plans_filtered
from zart.cli.planning import planned
from zart.cli.session import Session
from zart.cli.values import json_value, names_of, rate_of
from zart.cli.watching import watched
from zart.models import Batch, BatchPauseCause, BatchStatus, CreatedBatch, OperationKind
from zart.models.batch_operations import (
    SAME,
    BatchOperation,
    CancelExecution,
    CompleteStep,
    FailStep,
    Rerun,
    Restart,
    RetryStep,
)

app = typer.Typer()
_BADLY = 4  # it ended with refused items or dead steps, was cancelled, or paused at its failures

Everything = Annotated[bool, typer.Option("--everything", help="All executions there are.")]
Rate = Annotated[str | None, typer.Option("--rate", metavar="40/s", help="So many items a second.")]
Canary = Annotated[
    int | None, typer.Option("--canary", min=1, max=10_000, help="Pause after so many items.")
]
MaxFailures = Annotated[
    int | None,
    typer.Option("--max-failures", min=1, max=1_000_000, help="Pause at so many that fail."),
]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Do not follow it to its end.")]
IfRunning = Annotated[
    str, typer.Option("--if-running", metavar="supersede|fail", help="What is unfinished.")
]
Fence = Annotated[bool, typer.Option("--fence", help="Also steps that are RUNNING.")]
InDoubt = Annotated[
    bool, typer.Option("--accept-in-doubt", help="Also what may have happened already.")
]


def _create(session: Session, operation: BatchOperation, given: dict[str, Any]) -> None:
    """Plan the batch, ask, make it, and follow it."""
    wanted: ExecutionFilter = given["wanted"]
    is_everything = not wanted.to_message().ListFields()
    if is_everything != given["everything"]:
        raise typer.BadParameter("say which executions: by a filter, or --everything, not both")
    options = {
        "filter": None if is_everything else wanted,
        "everything": is_everything,
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
    except KeyboardInterrupt:
        session.warn(f"{batch_id} goes on: zart batch cancel {batch_id} ends it")
        raise
    if batch.status is BatchStatus.PAUSED:
        session.tell(f"{batch_id} is paused: zart batch resume {batch_id} goes on")
    return message, batch


def _ended_badly(batch: Batch) -> bool:
    is_wanted = isinstance(batch.operation, FailStep)
    dead = 0 if batch.outcomes is None or is_wanted else batch.outcomes.dead
    # What failed is counted when the server pauses it; the watch may not have been told of it yet.
    is_stopped = (
        batch.status is BatchStatus.CANCELLED or batch.pause_cause is BatchPauseCause.MAX_FAILURES
    )
    return is_stopped or bool(batch.counts.refused or dead)


@app.command(
    "retry-step",
    epilog=example("batch retry-step --task-name order --step charge-card --rate 40/s"),
)
@plans_filtered
def retry_step(
    session: Session,
    wanted: ExecutionFilter,
    max_attempts: Annotated[
        int | None, typer.Option("--max-attempts", min=1, help="The new budget of each.")
    ] = None,
    input: Annotated[  # noqa: A002 - the contract's word
        str | None, typer.Option("--input", help="Their input from now on: JSON, @FILE or -.")
    ] = None,
    accept_in_doubt: InDoubt = False,
    everything: Everything = False,
    rate: Rate = None,
    canary: Canary = None,
    max_failures: MaxFailures = None,
    no_wait: NoWait = False,
) -> None:
    """Revive the dead steps that a filter matches."""
    value = json_value(input, "--input")
    other: Any = SAME if value is UNSET else value
    _create(session, RetryStep(max_attempts, accept_in_doubt, other), locals())


@app.command("restart", epilog=example("batch restart --status failed --task-name order"))
@plans_filtered
def restart(
    session: Session,
    wanted: ExecutionFilter,
    payload: Annotated[
        str | None, typer.Option("--payload", help="JSON, @FILE or -; default: as before.")
    ] = None,
    if_running: IfRunning = "fail",
    accept_in_doubt: InDoubt = False,
    everything: Everything = False,
    rate: Rate = None,
    canary: Canary = None,
    max_failures: MaxFailures = None,
    no_wait: NoWait = False,
) -> None:
    """Restart the executions that a filter matches."""
    value = json_value(payload, "--payload")
    other: Any = SAME if value is UNSET else value
    _create(session, Restart(other, _choice(if_running), accept_in_doubt), locals())


@app.command("rerun", epilog=example("batch rerun --status failed --task-name order"))
@plans_filtered
def rerun(
    session: Session,
    wanted: ExecutionFilter,
    force: Annotated[
        list[str] | None, typer.Option("--rerun", metavar="a,b", help="Steps to run again.")
    ] = None,
    preserve: Annotated[
        list[str] | None,
        typer.Option("--preserve", metavar="c", help="Completed dependants to keep."),
    ] = None,
    include_downstream: Annotated[
        bool, typer.Option("--include-downstream", help="Run all dependants again, too.")
    ] = False,
    forced: Annotated[list[str] | None, typer.Option("--force", hidden=True)] = None,
    downstream: Annotated[bool, typer.Option("--downstream", hidden=True)] = False,
    if_running: IfRunning = "fail",
    accept_in_doubt: InDoubt = False,
    everything: Everything = False,
    rate: Rate = None,
    canary: Canary = None,
    max_failures: MaxFailures = None,
    no_wait: NoWait = False,
) -> None:
    """Rerun the executions that a filter matches."""
    # Scripts may still have the names that these options had.
    operation = Rerun(
        [*names_of(force, "--rerun"), *names_of(forced, "--force")],
        names_of(preserve, "--preserve"),
        include_downstream or downstream,
        _choice(if_running),
        accept_in_doubt,
    )
    _create(session, operation, locals())


@app.command(
    "cancel-execution", epilog=example("batch cancel-execution --status running --task-name order")
)
@plans_filtered
def cancel_execution(
    session: Session,
    wanted: ExecutionFilter,
    everything: Everything = False,
    rate: Rate = None,
    canary: Canary = None,
    max_failures: MaxFailures = None,
    no_wait: NoWait = False,
) -> None:
    """Cancel the executions that a filter matches."""
    _create(session, CancelExecution(), locals())


@app.command(
    "complete-step", epilog=example("batch complete-step --task-name order --step mail --result 1")
)
@plans_filtered
def complete_step(
    session: Session,
    wanted: ExecutionFilter,
    result: Annotated[
        str | None, typer.Option("--result", help="What each results in: JSON, @FILE or -.")
    ] = None,
    skip: Annotated[bool, typer.Option("--skip", help="Skip them: without a result.")] = False,
    fence: Fence = False,
    everything: Everything = False,
    rate: Rate = None,
    canary: Canary = None,
    max_failures: MaxFailures = None,
    no_wait: NoWait = False,
) -> None:
    """Complete the steps that a filter matches by hand."""
    if (result is None) != skip:
        raise typer.BadParameter("give --result or --skip")
    value = json_value(result, "--result")
    other: Any = SAME if value is UNSET else value
    _create(session, CompleteStep(other, skip, fence), locals())


@app.command(
    "fail-step",
    epilog=example("batch fail-step --of-rule pr-7k2m9x4q --step mail --message 'no need'"),
)
@plans_filtered
def fail_step(
    session: Session,
    wanted: ExecutionFilter,
    message: Annotated[str, typer.Option("--message", help="Why they are failed.")],
    fence: Fence = False,
    everything: Everything = False,
    rate: Rate = None,
    canary: Canary = None,
    max_failures: MaxFailures = None,
    no_wait: NoWait = False,
) -> None:
    """Fail the steps that a filter matches by hand."""
    _create(session, FailStep(message, fence), locals())


def _choice(if_running: str) -> str:
    if if_running.lower() not in {"supersede", "fail"}:
        raise typer.BadParameter("supersede or fail", param_hint="--if-running")
    return if_running
