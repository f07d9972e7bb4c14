"""The command that shows pause rules: all that stand, or one whole."""

from __future__ import annotations

from typing import Annotated

import typer

from zart.calls import admin
from zart.cli.completing import rule_ids
from zart.cli.options import Limit, ScopeExecution, ScopeTask, example, reads
from zart.cli.rule_rows import RULES, rule_lines, rule_row
from zart.cli.session import Session

app = typer.Typer()


@app.command("rules", epilog=example("rules pr-7k2m9x4q"))
@app.command(
    "pause-list",
    help="List pause rules: the same as zart rules.",
    epilog=example("pause-list --include-deleted"),
)
@reads
def rules(
    session: Session,
    rule_id: Annotated[
        str | None,
        typer.Argument(
            metavar="[RULE_ID]",
            help="One rule, whole: with all that it exempts.",
            show_default="all",
            autocompletion=rule_ids,
        ),
    ] = None,
    execution_id: ScopeExecution = None,
    task_name: ScopeTask = None,
    step: Annotated[str | None, typer.Option("--step", help="With this very pattern.")] = None,
    include_deleted: Annotated[
        bool, typer.Option("--include-deleted", help="Resumed and expired ones, too.")
    ] = False,
    limit: Limit = 0,
) -> None:
    """List pause rules, newest first: what each withholds, what is in flight, what it lets go."""
    if rule_id is None:
        call = admin.list_pause_rules(
            execution_id=execution_id,
            task_name=task_name,
            step_pattern=step,
            include_deleted=include_deleted,
        )
        session.run_list(call, limit, RULES, rule_row)
        return
    if not (execution_id is task_name is step is None):
        raise typer.BadParameter("stands alone: it has one scope", param_hint="RULE_ID")
    session.run(admin.get_pause_rule(rule_id), lambda found: session.print(*rule_lines(found)))
