"""One execution, one run, one step: whole, in lines for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from zart.calls.audit import list_rule_holds
from zart.cli import render
from zart.cli.session import Session
from zart.cli.shell import no_options
from zart.cli.values import counted
from zart.errors import ExecutionNotFound, Refused, UnknownMethod, Unreachable
from zart.models import Attempt, AttemptStatus, ExecutionState, Run, Step, StepStatus

_FAILED_STEPS = 20  # whose attempts are shown beside the others
_BAD = {AttemptStatus.FAILED, AttemptStatus.TIMED_OUT, AttemptStatus.LOST}


def show_state(session: Session, state: ExecutionState, result_json: str) -> None:
    """Print an execution, one of its runs, its steps, and the attempts of what failed."""
    session.print(
        f"execution {state.execution.execution_id}  task {state.execution.task_name}",
        *_run_lines(state.run),
    )
    if state.run.status == "COMPLETED":
        session.out.json(f"result    {result_json}")
    session.print_table(render.STEPS, list(map(render.step_row, state.steps)))
    failed = [step for step in state.steps if _has_failed(step)]
    if not failed:
        return
    session.print("")
    rows = [
        render.attempt_row(step.step_name, attempt)
        for step in failed[:_FAILED_STEPS]
        for attempt in step.attempts
    ]
    session.print_table(render.ATTEMPTS, rows)
    if len(failed) > _FAILED_STEPS:
        session.tell(f"and {counted(len(failed) - _FAILED_STEPS, 'more step')} that failed")
    number = state.run.run_number
    older = [] if number == state.execution.current_run_number else ["--run", str(number)]
    names = no_options(state.execution.execution_id, failed[0].step_name)
    session.err.verbatim(f"with tracebacks: {session.line.hint('status', *older, *names)}")


def _has_failed(step: Step) -> bool:
    if step.status is StepStatus.COMPLETED:
        return False
    return any(attempt.status in _BAD for attempt in step.attempts)


def _run_lines(run: Run) -> Iterator[str]:
    yield f"run       {run.run_id}  {run.status}  ({run.trigger})"
    if run.triggered_by or run.reason:
        yield f"by        {run.triggered_by}{': ' if run.reason else ''}{run.reason}"
    if run.principal:
        yield f"identity  {run.principal}"
    yield f"created   {render.when(run.created_at)}"
    if run.completed_at:
        yield f"ended     {render.when(run.completed_at)}"
    if run.trace_id:
        yield f"trace     {run.trace_id}"
    if run.error:
        yield f"error     {run.error}"


def paused_since(session: Session, execution_id: str, step: Step) -> datetime | None:
    """Return since when a step is paused. None: it is not, or nobody can tell."""
    if step.status is not StepStatus.PAUSED:
        return None
    try:
        _, found = session.send(list_rule_holds(execution_id))
    except (ExecutionNotFound, UnknownMethod):  # purged just now; a server that is older
        return None
    except (Refused, Unreachable, TimeoutError) as error:  # the step is shown all the same
        session.tell(f"since when {step.step_name} is paused could not be looked up: {error}")
        return None
    since = [
        hold.held_from
        for hold in found.holds
        if hold.step_name == step.step_name and hold.held_until is None and hold.held_from
    ]
    return min(since, default=None)


def show_step(
    session: Session, step: Step, input_json: str, result_json: str, paused: datetime | None
) -> None:
    """Print one step whole, since when it is ``paused``, its attempts and their tracebacks."""
    session.print(f"step      {step.step_name}  {step.status}  {render.attempts_of(step)}")
    for label, text in (*_facts(step), ("paused", render.when(paused))):
        if text:
            session.print(f"{label:<10}{text}")
    corrected = step.input_corrections
    if corrected:
        times = "once" if corrected == 1 else f"{corrected} times"
        session.print(f"{'corrected':<10}its input, {times} in this run")
    for label, text in (("input", input_json), ("result", result_json)):
        if text:
            session.out.json(f"{label:<10}{text}")
    for attempt in step.attempts:
        session.print("", _attempt_line(attempt))
        error = attempt.error
        if error is not None:
            told = [] if error.details.rstrip().endswith(error.message) else [error.message]
            for line in "\n".join([*told, error.details]).strip("\n").split("\n"):
                session.out.verbatim(f"  {line}")


def _facts(step: Step) -> Sequence[tuple[str, str]]:
    preserved = step.preserved_from_run_number
    return (
        ("handler", "" if step.handler == step.step_name else step.handler),
        ("after", ", ".join(step.depends_on)),
        ("waits for", step.waiting_on),
        ("by hand", render.resolution_of(step)),
        ("preserved", "" if preserved is None else f"from run {preserved}"),
        ("leased by", step.lease_owner),
        ("ready", render.when(step.scheduled_at)),
        ("started", render.when(step.started_at)),
        ("ended", render.when(step.completed_at)),
        ("error", render.error_line(step.last_error)),
    )


def _attempt_line(attempt: Attempt) -> str:
    parts = (
        f"attempt #{attempt.attempt}",
        attempt.status,
        f"by {attempt.dispatcher_id}" if attempt.dispatcher_id else "",
        f"({attempt.principal})" if attempt.principal else "",
        render.when(attempt.started_at),
        render.took(attempt.started_at, attempt.completed_at),
        "" if attempt.error is None else attempt.error.type,
        f"because {attempt.reason}" if attempt.reason else "",
    )
    return "  ".join(part for part in parts if part)
