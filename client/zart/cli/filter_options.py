"""The options of a filter of executions, which many commands share."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from zart.cli.completing import batch_ids, task_names

TaskName = typer.Option("--task-name", help="Of this task.", autocompletion=task_names)
Names = list[str] | None
FILTER: dict[str, tuple[Any, Any]] = {
    "task_name": (Annotated[str, TaskName], ""),
    "status": (
        Annotated[
            Names,
            typer.Option(
                "--status", metavar="failed,running", help="Whose current run is in one of these."
            ),
        ],
        None,
    ),
    "step_status": (
        Annotated[
            Names,
            typer.Option("--step-status", metavar="dead", help="With a step in this state."),
        ],
        None,
    ),
    "step": (
        Annotated[
            str,
            typer.Option(
                "--step",
                metavar="GLOB",
                help="With a dead step of this name; with --of-rule a withheld one.",
            ),
        ],
        "",
    ),
    "error_group": (
        Annotated[
            str,
            typer.Option("--error-group", metavar="eg-…", help="It died of such an error."),
        ],
        "",
    ),
    "error_contains": (
        Annotated[str, typer.Option("--error-contains", metavar="TEXT", help="Its error has it.")],
        "",
    ),
    "dead_after": (
        Annotated[
            str | None,
            typer.Option("--dead-after", metavar="TIME|AGE", help="It died at or after this."),
        ],
        None,
    ),
    "dead_before": (
        Annotated[
            str | None,
            typer.Option("--dead-before", metavar="TIME|AGE", help="It died before this."),
        ],
        None,
    ),
    "created_after": (
        Annotated[
            str | None,
            typer.Option("--created-after", metavar="TIME|AGE", help="At or after this."),
        ],
        None,
    ),
    "created_before": (
        Annotated[
            str | None, typer.Option("--created-before", metavar="TIME|AGE", help="Before this.")
        ],
        None,
    ),
    "id_prefix": (
        Annotated[
            str, typer.Option("--id-prefix", metavar="TEXT", help="Its id begins with this.")
        ],
        "",
    ),
    "started_by": (
        Annotated[
            str,
            typer.Option(
                "--started-by", metavar="WHO", help="Started by; needs --created-after within 7d."
            ),
        ],
        "",
    ),
    "of_batch": (
        Annotated[
            str,
            typer.Option(
                "--of-batch", metavar="BATCH", help="Selected for it.", autocompletion=batch_ids
            ),
        ],
        "",
    ),
    "of_rule": (
        Annotated[
            str, typer.Option("--of-rule", metavar="RULE", help="With a step that it withholds.")
        ],
        "",
    ),
}
