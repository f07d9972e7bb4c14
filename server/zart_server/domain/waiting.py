"""Describes in words what a step waits for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

# A dispatcher that waits for tasks is noted every few seconds; older than this means that it is
# gone, or that each of its slots has been taken for so long: then it does not ask.
STALE_AFTER = timedelta(seconds=15)
_NAMED_STEPS = 5


def waiting_for_steps(step_names: Sequence[str]) -> str:
    """Return which dependencies are not completed."""
    named = ", ".join(step_names[:_NAMED_STEPS])
    more = len(step_names) - _NAMED_STEPS
    word = "step" if len(step_names) == 1 else "steps"
    return f"{word} {named}" + (f" and {more} more" if more > 0 else "")


def waiting_for_rule(rule_id: str, created_by: str, reason: str) -> str:
    """Return which pause rule withholds the step, who made the rule, and why."""
    why = ": ".join(part for part in (created_by, reason) if part)
    return f"pause rule {rule_id}" + (f" ({why})" if why else "")


def waiting_in_queue(
    task_name: str, not_before: datetime, now: datetime, last_asked_at: datetime | None
) -> str:
    """Return what a queued task waits for: its time, any dispatcher, or a free one."""
    if not_before > now:
        return f"backoff until {moment(not_before)}"
    if last_asked_at is None:
        return f"a dispatcher: none has ever asked for {task_name}"
    if now - last_asked_at > STALE_AFTER:
        return f"a dispatcher: none has asked for {task_name} since {moment(last_asked_at)}"
    return "a dispatcher with a free slot"


def moment(time: datetime) -> str:
    """Write a time in UTC, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def letting_go(begins_at: datetime, rate: float) -> str:
    """Say of a pause rule when it begins to let how many steps a second go."""
    return f"begins at {moment(begins_at)} to let {rate:g} steps a second go"
