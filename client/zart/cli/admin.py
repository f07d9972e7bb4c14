"""The commands that operate executions."""

from __future__ import annotations

from typing import Annotated

import typer

from zart.calls import changes
from zart.cli import done, render
from zart.cli.options import MOST, ExecutionId, Limit, example, plans, reads
from zart.cli.session import Session
from zart.cli.values import inputs_of, json_value, names_of
from zart.models import Rerun, Restarted, RetriedStep, StepStatus

app = typer.Typer()

IfRunningOption = Annotated[
    str | None,
    typer.Option("--if-running", help="supersede (default) or fail.", metavar="supersede|fail"),
]
AcceptInDoubt = Annotated[
    bool,
    typer.Option(
        "--accept-in-doubt", help="Also run again what may have happened, or was found to have."
    ),
]
ExpectRun = Annotated[
    int | None,
    typer.Option("--expect-run", min=0, max=MOST, help="Refuse unless this is the current run."),
]


def _choice(if_running: str | None) -> str | None:
    if if_running is not None and if_running.lower() not in {"supersede", "fail"}:
        raise typer.BadParameter("supersede or fail", param_hint="--if-running")
    return if_running


def confirm_end_of_run(
    session: Session, execution_id: str, verb: str, expected: int | None
) -> int | None:
    """Name the steps in flight that would be fenced, and ask, where somebody is there.

    Gives the run that was shown, so that the call refuses another one. A repeat stays as it was.
    """
    if session.mutation.yes or session.plan or not session.is_interactive:
        return expected
    state = session.client.get_execution(execution_id)
    in_flight = [s for s in state.steps if s.status is StepStatus.RUNNING]
    if in_flight:
        session.asking.line(f"in flight in {state.run.run_id}:")
        rows = list(map(render.step_row, in_flight))
        session.print_table(render.STEPS, rows, on=session.asking)
        session.confirm(f"{verb} all the same?")
    if expected is not None or session.mutation.may_repeat:
        return expected
    return state.run.run_number


@app.command(
    "retry-step",
    epilog=example("""retry-step order-7 charge-card --input '{"card": 7}'"""),
)
@plans
def retry_step(
    session: Session,
    execution_id: ExecutionId,
    step_name: Annotated[str, typer.Argument(metavar="STEP_NAME")],
    max_attempts: Annotated[
        int | None, typer.Option("--max-attempts", min=1, max=MOST, help="The new budget.")
    ] = None,
    input: Annotated[  # noqa: A002 - the contract's word
        str | None,
        typer.Option("--input", help="Its input from now on: JSON, @FILE or -; default: as it is."),
    ] = None,
    run_id: Annotated[str | None, typer.Option("--run-id", help="Must be the current run.")] = None,
    accept_in_doubt: AcceptInDoubt = False,
    expect_run: ExpectRun = None,
) -> None:
    """Revive one dead step of the current run."""

    def show(answer: RetriedStep) -> None:
        step = answer.step
        waits = f": {step.waiting_on}" if step.waiting_on else ""
        be = done.be(answer)
        session.print(f"{answer.run_id}/{step.step_name} {be} {step.status}{waits}")

    call = changes.retry_step(
        execution_id,
        step_name,
        run_id=run_id,
        max_attempts=max_attempts,
        accept_in_doubt=accept_in_doubt,
        input=json_value(input, "--input"),
        expected_run_number=expect_run,
        **session.plan.fields,
        **session.mutation.fields,
    )
    session.run(call, show)


@app.command(epilog=example("restart order-7 --reason 'new prices'"))
@plans
def restart(
    session: Session,
    execution_id: ExecutionId,
    payload: Annotated[
        str | None, typer.Option("--payload", help="JSON, @FILE or -; default: as before.")
    ] = None,
    if_running: IfRunningOption = None,
    accept_in_doubt: AcceptInDoubt = False,
    expect_run: ExpectRun = None,
) -> None:
    """End the current run and create the next from scratch."""
    value = json_value(payload)
    expected = confirm_end_of_run(session, execution_id, "restart", expect_run)

    def show(answer: Restarted) -> None:
        session.print(*done.run_lines(answer))

    call = changes.restart(
        execution_id,
        payload=value,
        if_running=_choice(if_running),
        accept_in_doubt=accept_in_doubt,
        expected_run_number=expected,
        **session.plan.fields,
        **session.mutation.fields,
    )
    session.run(call, show)


@app.command(epilog=example("rerun order-7 --rerun enrich-data --dry-run"))
@plans
def rerun(
    session: Session,
    execution_id: ExecutionId,
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
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            metavar="STEP=JSON",
            help="Another input of a step: it runs again; = in its name is \\=",
        ),
    ] = None,
    payload: Annotated[
        str | None,
        typer.Option("--payload", help="JSON, @FILE or -: what is not preserved runs again."),
    ] = None,
    if_running: IfRunningOption = None,
    accept_in_doubt: AcceptInDoubt = False,
    expect_run: ExpectRun = None,
) -> None:
    """Create the next run, with results of completed steps carried over."""
    corrected, value = inputs_of(inputs, "--input"), json_value(payload)
    expected = confirm_end_of_run(session, execution_id, "rerun", expect_run)

    def show(answer: Rerun) -> None:
        session.print(*done.rerun_lines(answer))

    call = changes.rerun(
        execution_id,
        force_rerun=names_of(force, "--rerun"),
        preserve=names_of(preserve, "--preserve"),
        include_downstream=include_downstream,
        inputs=corrected,
        payload=value,
        if_running=_choice(if_running),
        accept_in_doubt=accept_in_doubt,
        expected_run_number=expected,
        **session.plan.fields,
        **session.mutation.fields,
    )
    session.run(call, show)


@app.command(epilog=example("runs order-7"))
@reads
def runs(session: Session, execution_id: ExecutionId, limit: Limit = 0) -> None:
    """List the runs of an execution."""
    session.run_list(changes.list_runs(execution_id), limit, render.RUNS, render.run_row)
