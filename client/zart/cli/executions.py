"""The commands that start, show and end executions."""

from __future__ import annotations

import json
from collections import deque
from typing import Annotated

import typer

from zart.calls import execution
from zart.cli import render
from zart.cli.admin import ExpectRun, confirm_end_of_run
from zart.cli.options import ExecutionId, Limit, mutates, reads
from zart.cli.session import Session
from zart.cli.values import json_value, names_of
from zart.decoding import decode
from zart.errors import RunFailed
from zart.models import (
    Cancelled,
    Execution,
    ExecutionState,
    Run,
    RunStatus,
    StepStatus,
)

app = typer.Typer()

RunNumber = Annotated[int | None, typer.Option("--run", min=0, help="Default: the current one.")]


@app.command()
@mutates
def start(
    session: Session,
    task_name: Annotated[str, typer.Argument(metavar="TASK_NAME")],
    execution_id: Annotated[
        str, typer.Option("--execution-id", help="Default: made by the server.")
    ] = "",
    payload: Annotated[str | None, typer.Option("--payload", help="JSON, @FILE or -.")] = None,
    if_exists: Annotated[
        str | None, typer.Option("--if-exists", help="fail (default) or return.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end; print it.")] = False,
) -> None:
    """Start an execution of a task."""
    if if_exists is not None and if_exists.lower() not in {"fail", "return"}:
        raise typer.BadParameter("fail or return", param_hint="--if-exists")
    call = execution.start_execution(
        execution.Start(task_name, json_value(payload), execution_id, (), if_exists),
        **session.mutation.fields,
    )

    def show(answer: Execution) -> None:
        session.print(f"{answer.current_run_id} is {answer.status}")

    if wait:
        _, started = session.send(call)
        _wait(session, started.execution_id)
    else:
        session.run(call, show)


@app.command("list")
@reads
def list_executions(
    session: Session,
    task_name: Annotated[str, typer.Option("--task-name", help="Of this task.")] = "",
    status: Annotated[list[str] | None, typer.Option("--status", metavar="failed,running")] = None,
    step_status: Annotated[
        list[str] | None,
        typer.Option("--step-status", metavar="dead", help="With a step in this state."),
    ] = None,
    limit: Limit = 50,
) -> None:
    """List executions, newest first."""
    statuses, step_statuses = names_of(status), names_of(step_status)
    _check(statuses, [s.value for s in RunStatus][1:], "--status")
    _check(step_statuses, [s.value for s in StepStatus][1:], "--step-status")
    call = execution.list_executions(
        task_name=task_name, statuses=statuses, step_statuses=step_statuses
    )
    session.run_list(
        call, "executions", limit, lambda found: session.out.print(render.executions(found))
    )


def _check(given: list[str], known: list[str], option: str) -> None:
    for name in given:
        if name.upper() not in known:
            choices = ", ".join(known).lower()
            raise typer.BadParameter(f"{name!r} is none of {choices}", param_hint=option)


@app.command()
@reads
def tasks(session: Session, limit: Limit = 0) -> None:
    """List the task definitions and when a dispatcher last asked for them."""
    session.run_list(
        execution.list_task_definitions(),
        "task_definitions",
        limit,
        lambda found: session.out.print(render.tasks(found)),
    )


@app.command()
@reads
def status(session: Session, execution_id: ExecutionId, run: RunNumber = None) -> None:
    """Show an execution, a run and its steps, and what each waits for."""

    def show(state: ExecutionState) -> None:
        session.print(*render.state_lines(state))
        session.out.print(render.steps(state.steps))

    session.run(execution.get_execution(execution_id, run_number=run), show)


@app.command()
@reads
def watch(session: Session, execution_id: ExecutionId, run: RunNumber = None) -> None:
    """Follow a run until it is finished; exit 4 when it ended FAILED or CANCELLED."""
    last: Run | None = None
    for message in session.client.watch_raw(execution_id, run_number=run, timeout=session.timeout):
        state = decode(ExecutionState, message)
        if session.is_json:
            session.print_json(message, one_line=True)
        else:
            _show_changes(session, state, last)
        last = state.run
    if last is not None and last.status is not RunStatus.COMPLETED:
        raise RunFailed(last)


def _show_changes(session: Session, state: ExecutionState, last: Run | None) -> None:
    if last is None or (last.run_id, last.status) != (state.run.run_id, state.run.status):
        session.print(f"{state.run.run_id} is {state.run.status}")
    for step in state.steps:
        more = step.waiting_on
        if step.status in {StepStatus.DEAD, StepStatus.SCHEDULED}:
            more = " · ".join(filter(None, (more, render.error_line(step.last_error))))
        attempt = f" (attempt {step.attempt})" if step.attempt else ""
        session.print(f"  {step.step_name} {step.status}{attempt}{': ' if more else ''}{more}")
    if state.run.status is RunStatus.COMPLETED:
        session.print(f"result: {json.dumps(state.run.result, ensure_ascii=False)}")


@app.command()
@reads
def wait(session: Session, execution_id: ExecutionId) -> None:
    """Wait until the current run is finished and print its result; exit 4 when it failed."""
    _wait(session, execution_id)


def _wait(session: Session, execution_id: str) -> None:
    # There is one at least: the first is the state as it is.
    messages = session.client.watch_raw(execution_id, timeout=session.timeout)
    final = deque(messages, maxlen=1).pop()
    run = decode(ExecutionState, final).run
    if session.is_json:
        session.print_json(final)
    if run.status is not RunStatus.COMPLETED:
        raise RunFailed(run)
    if not session.is_json:
        session.print(json.dumps(run.result, ensure_ascii=False))


@app.command()
@mutates
def cancel(session: Session, execution_id: ExecutionId, expect_run: ExpectRun = None) -> None:
    """Cancel the current run."""
    expected = confirm_end_of_run(session, execution_id, "cancel", expect_run)

    def show(answer: Cancelled) -> None:
        session.print(
            f"{answer.run.run_id} is {answer.run.status}", *render.fenced_lines(answer.fenced_steps)
        )

    call = execution.cancel_execution(
        execution_id, expected_run_number=expected, **session.mutation.fields
    )
    session.run(call, show)
