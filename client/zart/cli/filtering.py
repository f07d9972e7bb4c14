"""Reads the options of a filter, which commands share."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import typer

from zart.calls.filters import ExecutionFilter
from zart.cli.values import is_age, names_of, refuse_no_time, time_of
from zart.models import RunStatus, StepStatus

_TIMES = ("dead_after", "dead_before", "created_after", "created_before")


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def ages_of(given: Mapping[str, Any], wanted: ExecutionFilter) -> dict[str, tuple[str, str]]:
    """Return, by option, the ages that were given, each with the time that it means now."""
    return {
        _option(name): (given[name], getattr(wanted, name).isoformat())
        for name in _TIMES
        if given[name] is not None and is_age(given[name])
    }


def filter_of(given: Mapping[str, Any]) -> ExecutionFilter:
    """Return the filter that the options of a command say. Raises BadParameter."""
    now = datetime.now(UTC)
    times = {name: time_of(given[name], _option(name), now) for name in _TIMES}
    for after, before in (_TIMES[:2], _TIMES[2:]):
        refuse_no_time((_option(after), times[after]), (_option(before), times[before]))
    return ExecutionFilter(
        task_name=given["task_name"],
        statuses=_known(given["status"], [s.value for s in RunStatus][1:], "--status"),
        step_statuses=_known(
            given["step_status"], [s.value for s in StepStatus][1:], "--step-status"
        ),
        step_pattern=given["step"],
        error_group_id=given["error_group"],
        error_contains=given["error_contains"],
        execution_id_prefix=given["id_prefix"],
        triggered_by=given["started_by"],
        batch_id=given["of_batch"],
        rule_id=given["of_rule"],
        **times,
    )


def _known(texts: list[str] | None, known: list[str], option: str) -> list[str]:
    names = names_of(texts, option)
    for name in names:
        if name.upper() not in known:
            choices = ", ".join(known).lower()
            raise typer.BadParameter(f"{name!r} is none of {choices}", param_hint=option)
    return names
