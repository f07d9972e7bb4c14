"""Batches, their plans and their items, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from zart.cli.batch_settings import selection_of, settings_of
from zart.cli.batch_stops import stop_of
from zart.cli.render import when
from zart.cli.tables import NAMES, TEXT, Column
from zart.cli.values import counted, written_rate
from zart.models import Batch, BatchCounts, BatchItem, BatchOutcomes, BatchPlan, BatchStatus

BATCHES = (
    Column("BATCH"),
    Column("DOES"),
    Column("STATUS", words=NAMES, narrow=0),
    Column("ITEMS"),
    Column("DONE"),
    Column("REFUSED"),
    Column("STOPPED", rank=1, words=TEXT, lines=6, squeezed=14),  # 80 have room
    Column("CREATED", rank=2),
    Column("INCIDENT", rank=4, words=NAMES),
    Column("BY", rank=3),
    Column("REASON", rank=5, words=TEXT),
)
ITEMS = (
    Column("EXECUTION", words=NAMES),
    Column("RUN"),
    Column("STEP", words=NAMES),
    Column("ITEM"),
    Column("NOW"),
    Column("AT", rank=2),
    Column("REFUSED FOR", rank=1, words=TEXT),
)


def batch_row(b: Batch) -> Sequence[str]:
    """Return the row of a batch."""
    return (
        b.batch_id,
        _does(b),
        _status(b),
        str(b.counts.selected),
        str(b.counts.done),
        str(b.counts.refused),
        stop_of(b),
        when(b.created_at),
        b.incident,
        b.created_by,
        b.reason,
    )


def item_row(i: BatchItem) -> Sequence[str]:
    """Return the row of an item."""
    now = i.step_status if i.step_name else i.run_status
    return (
        i.execution_id,
        str(i.run_number),
        i.step_name,
        i.status,
        "" if now == "UNSPECIFIED" else now,
        when(i.done_at),
        "" if i.refusal is None else f"{i.refusal.reason}: {i.refusal.message}",
    )


def _does(b: Batch) -> str:
    kind = type(b.operation).__name__
    return "".join(f"-{c.lower()}" if c.isupper() else c for c in kind).lstrip("-")


def _status(b: Batch) -> str:
    return f"{b.status} ({b.pause_cause})" if b.status is BatchStatus.PAUSED else b.status


def counts_of(counts: BatchCounts | BatchOutcomes) -> str:
    """Tell how many there are of each, but for those of which there are none."""
    names = [field.name for field in fields(counts) if field.name != "selected"]
    told = [f"{getattr(counts, name)} {name}" for name in names if getattr(counts, name)]
    return ", ".join(told) or "none"


def batch_lines(b: Batch) -> list[str]:
    """Tell all of a batch."""
    rate = "" if b.rate_per_second is None else f"{written_rate(b.rate_per_second)}/s"
    most = b.max_failures
    bears = "" if most is None else f"fewer than {counted(most, 'failure')}"
    told = [
        ("paused" if b.status is BatchStatus.PAUSED else "cancelled", stop_of(b)),
        ("identity", "" if b.stop is None else b.stop.principal),
        ("of", "" if b.selection is None else selection_of(b.selection)),
        ("with", "" if b.operation is None else settings_of(b.operation)),
        ("as of", when(b.as_of)),
        ("items", f"{b.counts.selected}: {counts_of(b.counts)}"),
        ("made", "" if b.outcomes is None else counts_of(b.outcomes)),
        ("rate", rate),
        ("canary", "" if b.canary is None else str(b.canary)),
        ("bears", bears),
        ("error", b.error),
        ("created", when(b.created_at)),
        ("started", when(b.started_at)),
        ("completed", when(b.completed_at)),
        ("expected", when(b.expected_end_at)),
        ("by", b.created_by),
        ("identity", b.principal),
        ("reason", b.reason),
        ("incident", b.incident),
    ]
    lines = [f"{name:<10} {value}" for name, value in told if value]
    return [f"{b.batch_id} {_does(b)} is {_status(b)}", *lines]


def plan_lines(plan: BatchPlan) -> list[str]:
    """Tell what a batch would do."""
    where = counted(plan.executions, "execution")
    lines = [f"would be of {counted(plan.items, 'item')} in {where}"]
    for kind in plan.kinds:
        what = f"refused for {kind.refused_for}" if kind.refused_for else "done"
        sample = ", ".join(kind.sample_execution_ids[:3])
        lines.append(f"{kind.items:>8} would be {what}: {sample}")
    return lines
