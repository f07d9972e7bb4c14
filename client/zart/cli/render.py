"""Answers as tables and lines for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from rich.table import Table
from rich.text import Text

from zart.calls.payload import json_text
from zart.models import (
    Execution,
    ExecutionState,
    FencedStep,
    Operation,
    PauseRule,
    Rerun,
    Run,
    Step,
    StepError,
    TaskDefinition,
)

_COLOURS = {
    "COMPLETED": "green",
    "RUNNING": "cyan",
    "SCHEDULED": "blue",
    "PENDING": "bright_black",
    "PAUSED": "yellow",
    "FAILED": "red",
    "DEAD": "red",
    "CANCELLED": "magenta",
    "ACTIVE": "yellow",
}


def status_text(status: str) -> Text:
    """Colour a status."""
    return Text(status, style=_COLOURS.get(status, ""))


def when(time: datetime | None) -> str:
    """Write a time in UTC, to the second."""
    return "" if time is None else time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def table(columns: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> Table:
    """Make a table without the columns that no row fills; on a terminal long cells are folded."""
    made = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    # As Text, so that brackets in names are not taken for styles.
    cells = [[cell if isinstance(cell, Text) else Text(cell) for cell in row] for row in rows]
    shown = [n for n in range(len(columns)) if not cells or any(row[n].plain for row in cells)]
    for n in shown:
        made.add_column(columns[n], overflow="fold")
    for row in cells:
        made.add_row(*(row[n] for n in shown))
    return made


def executions(items: Sequence[Execution]) -> Table:
    """Show executions."""
    return table(
        ("EXECUTION", "TASK", "RUN", "STATUS", "CREATED", "WAITING ON"),
        (
            (
                e.execution_id,
                e.task_name,
                str(e.current_run_number),
                status_text(e.status),
                when(e.created_at),
                e.waiting_on,
            )
            for e in items
        ),
    )


def error_line(error: StepError | None) -> str:
    """Write an error in one line."""
    if error is None:
        return ""
    return f"{error.type}: {error.message}" if error.type else error.message


def _preserved(step: Step) -> str:
    number = step.preserved_from_run_number
    return "" if number is None else f"preserved from run {number}"


def steps(items: Sequence[Step]) -> Table:
    """Show steps, each with what it waits for, or what went wrong."""
    return table(
        ("STEP", "STATUS", "ATTEMPT", "IDENTITY", "DEPENDS ON", "WAITING ON / ERROR"),
        (
            (
                s.step_name,
                status_text(s.status),
                f"{s.attempt}/{s.max_attempts}",
                s.attempts[-1].principal if s.attempts else "",
                ", ".join(s.depends_on),
                s.waiting_on or error_line(s.last_error) or _preserved(s),
            )
            for s in items
        ),
    )


def run_lines(run: Run) -> list[str]:
    """Describe a run in lines."""
    lines = [f"run       {run.run_id}  {run.status}  ({run.trigger})"]
    if run.triggered_by or run.reason:
        lines.append(f"by        {run.triggered_by}{': ' if run.reason else ''}{run.reason}")
    if run.principal:
        lines.append(f"identity  {run.principal}")
    lines.append(f"created   {when(run.created_at)}")
    if run.completed_at:
        lines.append(f"ended     {when(run.completed_at)}")
    if run.error:
        lines.append(f"error     {run.error}")
    if run.status == "COMPLETED":
        lines.append(f"result    {json_text(run.result)}")
    return lines


def state_lines(state: ExecutionState) -> list[str]:
    """Describe an execution and one of its runs in lines."""
    return [
        f"execution {state.execution.execution_id}  task {state.execution.task_name}",
        *run_lines(state.run),
    ]


def runs(items: Sequence[Run]) -> Table:
    """Show runs."""
    return table(
        ("RUN", "STATUS", "TRIGGER", "BY", "IDENTITY", "REASON", "CREATED", "ENDED", "ERROR"),
        (
            (
                str(r.run_number),
                status_text(r.status),
                r.trigger,
                r.triggered_by,
                r.principal,
                r.reason,
                when(r.created_at),
                when(r.completed_at),
                r.error,
            )
            for r in items
        ),
    )


def scope_of(rule: PauseRule) -> str:
    """Say what a rule matches."""
    if rule.everything:
        return "everything"
    parts = (
        ("execution", rule.execution_id),
        ("task", rule.task_name),
        ("step", rule.step_pattern),
    )
    return " ".join(f"{name}={value}" for name, value in parts if value is not None)


def rules(items: Sequence[PauseRule]) -> Table:
    """Show pause rules."""
    return table(
        (
            "RULE",
            "MATCHES",
            "STATUS",
            "BY",
            "IDENTITY",
            "REASON",
            "CREATED",
            "EXPIRES",
            "DELETED BY",
            "DELETED BY IDENTITY",
        ),
        (
            (
                r.rule_id,
                scope_of(r),
                status_text(r.status),
                r.created_by,
                r.principal,
                r.reason,
                when(r.created_at),
                when(r.expires_at),
                r.deleted_by,
                r.deleted_by_principal,
            )
            for r in items
        ),
    )


def operations(items: Sequence[Operation]) -> Table:
    """Show who did what."""
    return table(
        ("WHEN", "WHAT", "RUN", "STEP / RULE", "BY", "IDENTITY", "REASON", "REPLACED"),
        (
            (
                when(o.created_at),
                o.kind,
                "" if o.run_number is None else str(o.run_number),
                o.step_name or o.rule_id,
                o.triggered_by,
                o.principal,
                o.reason,
                _replaced(o),
            )
            for o in items
        ),
    )


def _replaced(operation: Operation) -> str:
    replaced = operation.replaced
    if replaced is None:
        return ""
    if replaced.step_status != "UNSPECIFIED":
        return f"{replaced.step_status}: {error_line(replaced.step_error)}"
    if replaced.status != "UNSPECIFIED":
        what = f"run {replaced.run_number} {replaced.status}"
        return f"{what}: {replaced.error}" if replaced.error else what
    return ""


def tasks(items: Sequence[TaskDefinition]) -> Table:
    """Show task definitions."""
    return table(
        ("TASK", "VERSION", "STEPS", "LAST ASKED FOR"),
        (
            (
                t.task_name,
                str(t.version),
                ", ".join(step.step_name for step in t.steps),
                when(t.last_asked_at) or "never",
            )
            for t in items
        ),
    )


def fenced_lines(fenced: Sequence[FencedStep]) -> list[str]:
    """Name the steps that were in flight when their run was ended."""
    return [
        f"fenced    {step.step_name} (attempt {step.attempt}, on {step.dispatcher_id}):"
        " its result will be refused"
        for step in fenced
    ]


def rerun_lines(plan: Rerun, *, is_plan: bool) -> list[str]:
    """Describe what a rerun does, or would do."""
    head = "would make run" if is_plan else "made run"
    lines = [
        f"{head} {plan.new_run_number}",
        f"reruns    {', '.join(plan.effective_rerun)}",
        f"preserves {', '.join(plan.preserved) or 'nothing'}",
    ]
    lines += [
        f"stale?    {stale.preserved_step}: it may rest on {', '.join(stale.possibly_depends_on)}"
        + (f" and {stale.omitted} more" if stale.omitted else "")
        for stale in plan.potentially_stale
    ]
    return [*lines, *fenced_lines(plan.fenced_steps)]
