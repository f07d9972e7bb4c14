"""Pause rules as the rows of a table, with ages instead of times, and one of them whole."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from zart.cli.render import scope_of, when
from zart.cli.tables import NAMES, TEXT, Column
from zart.cli.values import counted, written_rate
from zart.models import PauseRule, PauseRuleStatus

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "m"))

_FIRST = 100  # executions that a rule exempts: a list has no more of them

RULES = (
    Column("RULE"),
    Column("MATCHES", words=NAMES),
    Column("STATUS", rank=4),
    Column("PAUSED"),
    Column("RUNNING"),
    Column("DRAINED", rank=3),
    Column("EXEMPT", rank=1),
    Column("LETS GO", rank=2, words=TEXT, narrow=15),
    Column("AGE", rank=5),
    Column("BY", rank=8),
    Column("IDENTITY", rank=11),
    Column("REASON", rank=7, words=TEXT),
    Column("ENDS", rank=6),
    Column("INCIDENT", rank=9),
    Column("DELETED BY", rank=10),
    Column("DELETED BY IDENTITY", rank=12),
)


def rule_row(r: PauseRule) -> Sequence[str]:
    """Show a pause rule, with what it withholds, what is still in flight, what it lets through."""
    now = datetime.now(UTC)
    return (
        r.rule_id,
        scope_of(r),
        r.status,
        _paused(r),
        _running(r),
        _ago(r.drained_at, now) or ("" if r.deleted_at else "no"),
        _exempt(r),
        _lets_go(r),
        _span(now - r.created_at) if r.created_at else "",
        r.created_by,
        r.principal,
        r.reason,
        f"in {_span(r.expires_at - now)}" if r.expires_at and not r.deleted_at else "",
        r.incident,
        r.deleted_by,
        r.deleted_by_principal,
    )


def rule_lines(r: PauseRule) -> list[str]:
    """Tell all of a pause rule, and each execution that it exempts on a line of its own."""
    exempt = len(r.exempt_execution_ids)
    released = r.release
    told = [
        ("matches", scope_of(r)),
        ("paused", _paused(r)),
        ("running", _running(r)),
        ("drained", when(r.drained_at)),
        ("lets go", _lets_go(r)),
        ("since", f"{when(released.started_at)}, by {released.started_by}" if released else ""),
        ("expected", _expected(r)),
        ("created", when(r.created_at)),
        ("ends", "" if r.deleted_at else when(r.expires_at)),
        ("breaker", r.breaker_id),
        ("by", r.created_by),
        ("identity", r.principal),
        ("reason", r.reason),
        ("incident", r.incident),
        ("ended", when(r.deleted_at)),
        ("ended by", r.deleted_by),
        ("identity", r.deleted_by_principal),
        ("exempt", counted(exempt, "execution") if exempt else ""),
    ]
    lines = [f"{name:<10} {value}" for name, value in told if value]
    return [f"{r.rule_id} is {r.status}", *lines, *(f"  {one}" for one in r.exempt_execution_ids)]


def _paused(r: PauseRule) -> str:
    return str(r.paused_steps) + "+" * r.paused_steps_is_lower_bound


def _running(r: PauseRule) -> str:
    return str(r.running_steps) + "+" * r.running_steps_is_lower_bound


def _exempt(r: PauseRule) -> str:
    number = len(r.exempt_execution_ids)
    return f"{number}{'+' * (number == _FIRST)}" if number else ""


def _lets_go(r: PauseRule) -> str:
    """Write how it lets steps go at a pace, or will once its time is up."""
    if r.release is None:
        after = None if r.deleted_at else r.release_on_expiry
        return f"then {written_rate(after.rate_per_second)}/s" if after else ""
    waits = ", waits for dispatchers" if r.release.waiting_for_dispatchers else ""
    return f"{written_rate(r.release.rate_per_second)}/s, {r.release.released_steps} gone{waits}"


def _expected(r: PauseRule) -> str:
    """Write when a release will have let all go, or why nobody can tell while it goes on."""
    if r.release is None:
        return ""
    is_unknown = r.status is PauseRuleStatus.RELEASING and r.release.expected_end_at is None
    if is_unknown and r.paused_steps and not r.release.waiting_for_dispatchers:
        return "not known: not counted yet, or what is left backs off, or as much comes as goes"
    return when(r.release.expected_end_at)


def _ago(time: datetime | None, now: datetime) -> str:
    return "" if time is None else f"{_span(now - time)} ago"


def _span(span: timedelta) -> str:
    """Write a span by its largest unit: 12s, 5m, 3h, 2d."""
    seconds = max(0, int(span.total_seconds()))
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
