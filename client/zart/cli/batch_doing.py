"""The commands that make a batch, one for each operation."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from zart.calls.filters import ExecutionFilter
from zart.calls.payload import UNSET
from zart.cli.batch_making import create_batch
from zart.cli.batch_selecting import Everything, ExecutionIds, IdsFrom, NoExecutionIds, NoIdsFrom
from zart.cli.options import example, plans_filtered
from zart.cli.session import Session
from zart.cli.values import json_value, names_of
from zart.models.batch_operations import (
    SAME,
    CancelExecution,
    CompleteStep,
    FailStep,
    Rerun,
    Restart,
    RetryStep,
)

app = typer.Typer()

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
    execution_ids: ExecutionIds = None,
    ids_from: IdsFrom = None,
    everything: Everything = False,
    rate: Rate = None,
    canary: Canary = None,
    max_failures: MaxFailures = None,
    no_wait: NoWait = False,
) -> None:
    """Revive the dead steps that a filter matches, or of named executions."""
    value = json_value(input, "--input")
    other: Any = SAME if value is UNSET else value
    create_batch(session, RetryStep(max_attempts, accept_in_doubt, other), locals())


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
    execution_ids: ExecutionIds = None,
    ids_from: IdsFrom = None,
    everything: Everything = False,
    rate: Rate = None,
    canary: Canary = None,
    max_failures: MaxFailures = None,
    no_wait: NoWait = False,
) -> None:
    """Restart the executions that a filter matches, or named ones."""
    value = json_value(payload, "--payload")
    other: Any = SAME if value is UNSET else value
    create_batch(session, Restart(other, _choice(if_running), accept_in_doubt), locals())


@app.command("rerun", epilog=example("batch rerun --status failed --task-name order"))
@plans_filtered
def rerun(
    session: Session,
    wanted: ExecutionFilter,
    force: Annotated[
        list[str] | None,
        typer.Option("--rerun", metavar="a,b", help="Steps to run again; a comma in a name is \\,"),
    ] = None,
    preserve: Annotated[
        list[str] | None,
        typer.Option("--preserve", metavar="c,d", help="Completed dependants to keep."),
    ] = None,
    include_downstream: Annotated[
        bool, typer.Option("--include-downstream", help="Run all dependants again, too.")
    ] = False,
    forced: Annotated[list[str] | None, typer.Option("--force", hidden=True)] = None,
    downstream: Annotated[bool, typer.Option("--downstream", hidden=True)] = False,
    if_running: IfRunning = "fail",
    accept_in_doubt: InDoubt = False,
    execution_ids: ExecutionIds = None,
    ids_from: IdsFrom = None,
    everything: Everything = False,
    rate: Rate = None,
    canary: Canary = None,
    max_failures: MaxFailures = None,
    no_wait: NoWait = False,
) -> None:
    """Rerun the executions that a filter matches, or named ones."""
    # Scripts may still have the names that these options had.
    operation = Rerun(
        [*names_of(force, "--rerun"), *names_of(forced, "--force")],
        names_of(preserve, "--preserve"),
        include_downstream or downstream,
        _choice(if_running),
        accept_in_doubt,
    )
    create_batch(session, operation, locals())


@app.command(
    "cancel-execution", epilog=example("batch cancel-execution --status running --task-name order")
)
@plans_filtered
def cancel_execution(
    session: Session,
    wanted: ExecutionFilter,
    execution_ids: ExecutionIds = None,
    ids_from: IdsFrom = None,
    everything: Everything = False,
    rate: Rate = None,
    canary: Canary = None,
    max_failures: MaxFailures = None,
    no_wait: NoWait = False,
) -> None:
    """Cancel the executions that a filter matches, or named ones."""
    create_batch(session, CancelExecution(), locals())


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
    execution_ids: NoExecutionIds = None,
    ids_from: NoIdsFrom = None,
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
    create_batch(session, CompleteStep(other, skip, fence), locals())


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
    execution_ids: NoExecutionIds = None,
    ids_from: NoIdsFrom = None,
    everything: Everything = False,
    rate: Rate = None,
    canary: Canary = None,
    max_failures: MaxFailures = None,
    no_wait: NoWait = False,
) -> None:
    """Fail the steps that a filter matches by hand."""
    create_batch(session, FailStep(message, fence), locals())


def _choice(if_running: str) -> str:
    if if_running.lower() not in {"supersede", "fail"}:
        raise typer.BadParameter("supersede or fail", param_hint="--if-running")
    return if_running
