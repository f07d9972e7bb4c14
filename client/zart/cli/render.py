"""Answers as the rows of tables and lines for people."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from zart.cli.tables import NAMES, TEXT, Column
from zart.models import (
    Attempt,
    AttemptStatus,
    Execution,
    PauseRule,
    Run,
    Step,
    StepError,
    StepResolution,
    TaskDefinition,
)

OPERATOR = "operator"  # who runs an attempt that an operator makes
_FRAME = re.compile(r'File "([^"\n]*)", line (\d+), in (\S+)')


def when(time: datetime | None) -> str:
    """Write a time in UTC, to the second."""
    return "" if time is None else time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def until(time: datetime, now: datetime) -> str:
    """Write a time that is to come, in UTC: without its date where that is today's."""
    date, _, of_day = when(time).partition(" ")
    return of_day if when(now).startswith(date) else when(time)


def age(time: datetime | None, now: datetime) -> str:
    """Write how long ago something was, in its largest unit."""
    if time is None:
        return ""
    seconds = max(0, int((now - time).total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def took(begun: datetime | None, ended: datetime | None) -> str:
    """Write how long something took."""
    if begun is None or ended is None:
        return ""
    span = max(ended - begun, timedelta())
    seconds = span.total_seconds()
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.3g} s"
    return str(timedelta(seconds=round(seconds)))


EXECUTIONS = (
    Column("EXECUTION"),
    Column("TASK", rank=2),
    Column("RUN", rank=1),
    Column("STATUS"),
    Column("CREATED", rank=3),
    Column("WAITING ON / ERROR", words=TEXT, lines=2),
)


def execution(e: Execution) -> Sequence[str]:
    """Show an execution, with what it waits for and which steps are dead, and why."""
    dead = [f"{step.step_name}: {error_line(step.error)}" for step in e.dead_steps]
    return (
        e.execution_id,
        e.task_name,
        str(e.current_run_number),
        e.status,
        when(e.created_at),
        " · ".join(filter(None, (*dead, e.waiting_on))),
    )


def error_line(error: StepError | None) -> str:
    """Write an error in one line."""
    if error is None:
        return ""
    return f"{error.type}: {error.message}" if error.type else error.message


def location_of(error: StepError) -> str:
    """Return the line of code that raised an error, by its traceback; empty without one."""
    frames = _FRAME.findall(error.details)
    if not frames:
        return ""
    file, line, function = frames[-1]
    name = re.split(r"[/\\]", file)[-1]
    return f"{name}:{line} in {function}"


def attempts_of(step: Step) -> str:
    """Return how many attempts count, of how many, and the last one's number if it differs."""
    counted = step.attempt
    if step.attempts:  # of very many the first ones are left out: most of these count
        counted = step.attempts[0].attempt - 1 + sum(map(_counts, step.attempts))
    numbered = f" (#{step.attempt})" if step.attempt != counted else ""
    return f"{counted}/{step.max_attempts}{numbered}"


def _counts(attempt: Attempt) -> bool:
    return attempt.status is not AttemptStatus.RELEASED and attempt.dispatcher_id != OPERATOR


def resolution_of(step: Step) -> str:
    """Say that an operator completed a step, and why."""
    by_hand = {
        StepResolution.COMPLETED_BY_OPERATOR: "completed by hand",
        StepResolution.SKIPPED_BY_OPERATOR: "skipped",
    }.get(step.resolution)
    reason = step.attempts[-1].reason if step.attempts else ""
    return f"{by_hand}{reason and ': '}{reason}" if by_hand else ""


def _preserved(step: Step) -> str:
    number = step.preserved_from_run_number
    return "" if number is None else f"preserved from run {number}"


STEPS = (
    Column("STEP"),
    Column("STATUS"),
    Column("ATTEMPTS", rank=1),
    Column("IDENTITY", rank=3),
    Column("DEPENDS ON", rank=2, words=NAMES),
    Column("WAITING ON / ERROR", words=TEXT),
)


def step_row(s: Step) -> Sequence[str]:
    """Show a step with what it waits for, or what went wrong."""
    return (
        s.step_name,
        s.status,
        attempts_of(s),
        s.attempts[-1].principal if s.attempts else "",
        ", ".join(s.depends_on),
        s.waiting_on or error_line(s.last_error) or resolution_of(s) or _preserved(s),
    )


ATTEMPTS = (
    Column("STEP"),
    Column("ATTEMPT", rank=1),
    Column("STATUS"),
    Column("BY", rank=4),
    Column("IDENTITY", rank=5),
    Column("STARTED", rank=3),
    Column("TOOK", rank=2),
    Column("ERROR", words=TEXT),
)


def attempt_row(step_name: str, a: Attempt) -> Sequence[str]:
    """Show an attempt, with what went wrong and where."""
    location = "" if a.error is None else location_of(a.error)
    return (
        step_name,
        f"#{a.attempt}",
        a.status,
        a.dispatcher_id,
        a.principal,
        when(a.started_at),
        took(a.started_at, a.completed_at),
        error_line(a.error) + (f" ({location})" if location else ""),
    )


RUNS = (
    Column("RUN"),
    Column("STATUS"),
    Column("TRIGGER", rank=4),
    Column("BY", rank=3),
    Column("IDENTITY", rank=6),
    Column("REASON", rank=2, words=TEXT),
    Column("CREATED", rank=1),
    Column("ENDED", rank=5),
    Column("ERROR", words=TEXT),
)


def run_row(r: Run) -> Sequence[str]:
    """Show a run."""
    return (
        str(r.run_number),
        r.status,
        r.trigger,
        r.triggered_by,
        r.principal,
        r.reason,
        when(r.created_at),
        when(r.completed_at),
        r.error,
    )


def scope_of(rule: PauseRule) -> str:
    """Return in words what a rule matches."""
    if rule.everything:
        return "everything"
    parts = (
        ("execution", rule.execution_id),
        ("task", rule.task_name),
        ("step", rule.step_pattern),
    )
    return " ".join(f"{name}={value}" for name, value in parts if value is not None)


TASKS = (
    Column("TASK"),
    Column("VERSION", rank=2),
    Column("STEPS", rank=1, words=NAMES),
    Column("LAST ASKED FOR"),
)


def task_row(t: TaskDefinition) -> Sequence[str]:
    """Show a task definition."""
    return (
        t.task_name,
        str(t.version),
        ", ".join(step.step_name for step in t.steps),
        when(t.last_asked_at) or "never",
    )
