"""Operations as the rows of a table, and what was decided by each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from zart.cli.render import error_line, when
from zart.cli.retention import kept_for
from zart.cli.tables import TEXT, Column
from zart.cli.values import counted, written_rate
from zart.models import (
    Operation,
    OperationKind,
    OperationMade,
    OperationStatus,
    StepResolution,
)

NOT_DONE = (OperationStatus.PLANNED, OperationStatus.REFUSED)
_MOST = 5  # names of steps, of those that may be a thousand
_RESOLUTIONS = {
    StepResolution.COMPLETED_BY_OPERATOR: "by hand",
    StepResolution.SKIPPED_BY_OPERATOR: "skipped",
}

OPERATIONS = (
    Column("WHEN"),
    Column("WHAT"),
    Column("RUN", rank=4),
    Column("STEP / RULE", rank=1),
    Column("BY", rank=2),
    Column("IDENTITY", rank=6),
    Column("DECIDED", words=TEXT),
    Column("REASON", rank=3, words=TEXT),
    Column("REPLACED", rank=5, words=TEXT),
)


def operation_row(o: Operation) -> Sequence[str]:
    """Show who did what."""
    return (
        when(o.created_at),
        o.kind,
        "" if o.run_number is None else str(o.run_number),
        o.step_name or o.rule_id,
        o.triggered_by,
        o.principal,
        decided(o),
        o.reason,
        _replaced(o),
    )


def decided(operation: Operation) -> str:
    """Write what its kind and its names do not tell of an operation that was done."""
    made = operation.made
    if made is None or operation.status in NOT_DONE:
        return ""
    told = (
        *_of_steps(made),
        _of_rule(made),
        _of_release(operation, made),
        _of_kept(operation, made),
    )
    return " · ".join(filter(None, told))


def _of_steps(made: OperationMade) -> Iterator[str]:
    """Write what was found out, how a step was completed, and what runs again, and with what."""
    yield made.finding.lower().replace("_", " ")
    yield _RESOLUTIONS.get(made.resolution, "")
    if made.effective_rerun:
        yield f"reruns {_some(made.effective_rerun)}"
    if made.corrected_input_steps:
        yield f"input of {_some(made.corrected_input_steps)}"


def _some(names: Sequence[str]) -> str:
    more = len(names) - _MOST
    return ", ".join(names[:_MOST]) + (f" and {more} more" if more > 0 else "")


def _of_rule(made: OperationMade) -> str:
    """Write whether a rule exempts the execution from then on, or when the rule ends."""
    if made.is_exempt is not None:
        return "exempt" if made.is_exempt else "exempt no longer"
    return f"until {when(made.expires_at)}" if made.expires_at else ""


def _of_release(operation: Operation, made: OperationMade) -> str:
    """Write how a rule lets steps go from then on, and how many went."""
    was = operation.replaced
    if made.canary:
        return f"canary {made.canary}: {counted(made.released_steps, 'step')} let go"
    if made.rate_per_second:
        rate = was.rate_per_second if was else 0
        before = f", {written_rate(rate)}/s before" if rate else ""
        return f"{written_rate(made.rate_per_second)}/s{before}"
    return f"{counted(made.released_steps, 'step')} let go" if made.released_steps else ""


def _of_kept(operation: Operation, made: OperationMade) -> str:
    """Write what a purge removed, and for how long something is to be kept."""
    if operation.kind is OperationKind.SET_RETENTION:
        return f"kept for {kept_for(made.keep_for)}"
    if operation.kind is not OperationKind.PURGE:
        return ""
    if made.removed_operations:
        return counted(made.removed_operations, "operation")
    return counted(made.removed_executions, "execution")


def _replaced(operation: Operation) -> str:
    replaced = operation.replaced
    if replaced is None:
        return ""
    if replaced.step_status != "UNSPECIFIED":
        error = error_line(replaced.step_error)
        return f"{replaced.step_status}: {error}" if error else replaced.step_status.value
    if replaced.status != "UNSPECIFIED":
        what = f"run {replaced.run_number} {replaced.status}"
        return f"{what}: {replaced.error}" if replaced.error else what
    return ""
