"""Which errors steps are dead of."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from zart.calls import filtered
from zart.calls.filters import ExecutionFilter
from zart.cli import render
from zart.cli.options import Limit, example, reads_filtered
from zart.cli.session import Session
from zart.cli.tables import TEXT, Column
from zart.models import ErrorGroup

app = typer.Typer()
_GROUPS = (
    Column("GROUP"),
    Column("TASK", rank=2),
    Column("STEP", rank=1),
    Column("DEAD"),
    Column("LAST", rank=3),
    Column("EXAMPLE", rank=4),
    Column("ERROR", words=TEXT, lines=3),
)


@app.command(epilog=example("errors --task-name order --dead-after 2h"))
@reads_filtered
def errors(session: Session, wanted: ExecutionFilter, limit: Limit = 0) -> None:
    """List the kinds of errors that steps are dead of, those of the most steps first.

    Options of list, retry-step in batches and others take the id of a group as --error-group.

    A count with a + may be more, and 0+ be some: where there are many, not all are looked at.
    """
    session.run_list(filtered.list_error_groups(wanted), limit, _GROUPS, _row)


def _row(group: ErrorGroup) -> Sequence[str]:
    more = "+" if group.dead_steps_is_lower_bound else ""
    error = f"{group.type}: {group.template}" if group.type else group.template
    return (
        group.error_group_id,
        group.task_name,
        group.step_name,
        f"{group.dead_steps}{more}",
        render.when(group.last_seen),
        next(iter(group.sample_execution_ids), ""),
        error,
    )
