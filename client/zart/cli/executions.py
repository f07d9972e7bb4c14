"""The commands that start, show and end executions."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from zart import streams
from zart.calls import definitions, execution, filtered
from zart.calls.filters import ExecutionFilter
from zart.cli import done, render
from zart.cli.admin import ExpectRun, confirm_end_of_run
from zart.cli.completing import task_names
from zart.cli.details import paused_since, show_state, show_step
from zart.cli.options import (
    MOST,
    ExecutionId,
    Limit,
    example,
    mutates,
    plans,
    reads,
    reads_filtered,
)
from zart.cli.session import Session
from zart.cli.values import json_value
from zart.cli.watching import telling, watched, while_read
from zart.cli.whole_results import NOT_READ, result_after
from zart.decoding import decode
from zart.errors import ExecutionNotFound, RunFailed, RunNotFound
from zart.models import (
    Cancelled,
    Execution,
    ExecutionState,
    Run,
    RunStatus,
    StepStatus,
)
from zart.waiting import last_in

app = typer.Typer()
# Conditions that are also single fields of ListExecutions.
_FIRST = ("task_name", "statuses", "step_statuses", "created_after", "created_before")

RunNumber = Annotated[
    int | None, typer.Option("--run", min=0, max=MOST, help="Default: the current one.")
]


@app.command(epilog=example("""start order --payload '{"user": 7}' --wait"""))
@mutates
def start(
    session: Session,
    task_name: Annotated[str, typer.Argument(metavar="TASK_NAME", autocompletion=task_names)],
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

    if not wait:
        session.run(call, show)
        return
    messages = streams.run_sync(session.client, call, session.timeout, telling(session))
    with session.asking_for(call):
        answer = next(messages).started
    session.heed_replay(answer)
    started = call.read(answer)
    if not session.is_json:
        show(started)
    else:  # to people only: scripts read JSON only, and the end has the id
        session.tell(started.execution_id)
    _show_end(session, last_in(while_read(session, messages)).state)


@app.command("list", epilog=example("list --step-status dead --created-after 2h"))
@reads_filtered
def list_executions(session: Session, wanted: ExecutionFilter, limit: Limit = 50) -> None:
    """List executions, newest first, with what each waits for and which steps are dead.

    Times are dates or as in 2026-01-31T14:00Z, in UTC unless they say so, or ages: 90s, 15m, 2h.
    """
    first = {name: getattr(wanted, name) for name in _FIRST}
    if wanted == ExecutionFilter(**first):  # understood by servers of earlier versions, too
        call = filtered.list_executions(**first)
    else:
        call = filtered.list_executions(wanted)
    session.run_list(call, limit, render.EXECUTIONS, render.execution)


@app.command(epilog=example("tasks"))
@reads
def tasks(session: Session, limit: Limit = 0) -> None:
    """List the task definitions and when a dispatcher last asked for them."""
    session.run_list(definitions.list_task_definitions(), limit, render.TASKS, render.task_row)


@app.command(epilog=example("status order-7 charge-card"))
@reads
def status(
    session: Session,
    execution_id: ExecutionId,
    step_name: Annotated[
        str | None, typer.Argument(metavar="[STEP_NAME]", help="Show this step whole.")
    ] = None,
    run: RunNumber = None,
) -> None:
    """Show an execution, a run, its steps, what each waits for, and how the failed ones failed.

    With STEP_NAME: that step whole, with its input, its result, and the traceback of each attempt.
    """
    message: Any  # read for the exact JSON text, which the dataclasses do not keep
    if step_name is not None:
        message, step = session.send(execution.get_step(execution_id, step_name, run_number=run))
        if session.is_json:
            session.print_json(message)
        else:
            texts = (message.step.input_json, message.step.result_json)
            show_step(session, step, *texts, paused_since(session, execution_id, step))
        return
    message, state = session.send(execution.get_execution(execution_id, run_number=run))
    with result_after(session, message) as result:
        if session.is_json:
            session.print_json(message)
        else:
            show_state(session, state, result)


@app.command(epilog=example("watch order-7"))
@reads
def watch(session: Session, execution_id: ExecutionId, run: RunNumber = None) -> None:
    """Follow a run until it is finished; exit 4 when it ended FAILED or CANCELLED."""
    last: Run | None = None
    message: Any
    call = execution.watch_execution(execution_id, run_number=run)
    for message in watched(session, call, timeout=session.timeout):
        state = decode(ExecutionState, message)
        if not session.is_json:
            _show_changes(session, state, last)
        with result_after(session, message) as result:
            if session.is_json:
                session.print_json(message, one_line=True)
            elif state.run.status is RunStatus.COMPLETED:
                session.out.json(f"result: {result}")
                session.out.flush()
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
        attempt = f" (attempt {render.attempts_of(step)})" if step.attempt else ""
        session.print(f"  {step.step_name} {step.status}{attempt}{': ' if more else ''}{more}")
    if state.run.result_omitted:  # which takes a while to read
        session.out.flush()


@app.command(epilog=example("wait order-7 --timeout 60"))
@reads
def wait(session: Session, execution_id: ExecutionId) -> None:
    """Wait until the current run is finished and print its result; exit 4 when it failed."""
    call = execution.watch_execution(execution_id)
    _show_end(session, last_in(watched(session, call, timeout=session.timeout)))


def _show_end(session: Session, final: Any) -> None:  # noqa: ANN401 - a message known by its fields
    run = decode(ExecutionState, final).run
    if session.is_json:
        whole = _whole(session, final)
        with result_after(session, whole):
            session.print_json(whole)
    if run.status is not RunStatus.COMPLETED:
        raise RunFailed(run)
    if not session.is_json:
        if run.result_omitted:
            session.tell(f"{run.run_id} is {run.status}")
        with result_after(session, final) as result:
            if not result.startswith(NOT_READ):
                session.out.json(result)
                session.out.flush()


def _whole(session: Session, final: Any) -> Any:  # noqa: ANN401 - messages known by their fields
    """Return the state that a watch ended with: its last message has but the steps that changed."""
    try:
        message, _ = session.send(
            execution.get_execution(final.execution.execution_id, run_number=final.run.run_number)
        )
    except (ExecutionNotFound, RunNotFound):  # it was removed just now
        return final
    return message


@app.command(epilog=example("cancel order-7 --reason 'ordered twice'"))
@plans
def cancel(session: Session, execution_id: ExecutionId, expect_run: ExpectRun = None) -> None:
    """Cancel the current run."""
    expected = confirm_end_of_run(session, execution_id, "cancel", expect_run)

    def show(answer: Cancelled) -> None:
        session.print(*done.run_lines(answer))

    call = execution.cancel_execution(
        execution_id,
        expected_run_number=expected,
        **session.plan.fields,
        **session.mutation.fields,
    )
    session.run(call, show)
