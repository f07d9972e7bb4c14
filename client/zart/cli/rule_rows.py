"""Pause rules as the rows of a table, with ages instead of times."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from zart.cli.render import scope_of
from zart.cli.tables import NAMES, TEXT, Column
from zart.models import PauseRule

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "m"))

RULES = (
    Column("RULE"),
    Column("MATCHES", words=NAMES),
    Column("STATUS", rank=1),
    Column("PAUSED"),
    Column("RUNNING"),
    Column("DRAINED"),
    Column("AGE", rank=2),
    Column("BY", rank=5),
    Column("IDENTITY", rank=8),
    Column("REASON", rank=4, words=TEXT),
    Column("ENDS", rank=3),
    Column("INCIDENT", rank=6),
    Column("DELETED BY", rank=7),
    Column("DELETED BY IDENTITY", rank=9),
)


def rule_row(r: PauseRule) -> Sequence[str]:
    """Show a pause rule, with what it withholds and what is still in flight."""
    now = datetime.now(UTC)
    return (
        r.rule_id,
        scope_of(r),
        r.status,
        str(r.paused_steps) + "+" * r.paused_steps_is_lower_bound,
        str(r.running_steps) + "+" * r.running_steps_is_lower_bound,
        _ago(r.drained_at, now),
        _span(now - r.created_at) if r.created_at else "",
        r.created_by,
        r.principal,
        r.reason,
        f"in {_span(r.expires_at - now)}" if r.expires_at and not r.deleted_at else "",
        r.incident,
        r.deleted_by,
        r.deleted_by_principal,
    )


def _ago(time: datetime | None, now: datetime) -> str:
    return "" if time is None else f"{_span(now - time)} ago"


def _span(span: timedelta) -> str:
    """Write a span by its largest unit: 12s, 5m, 3h, 2d."""
    seconds = max(0, int(span.total_seconds()))
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
