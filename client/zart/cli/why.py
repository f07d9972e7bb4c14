"""The command that tells why steps are not completed, and what to do."""

from __future__ import annotations

from typing import Annotated

import typer

from zart.calls import execution
from zart.cli.executions import RunNumber
from zart.cli.options import ExecutionId, example, reads
from zart.cli.render import when
from zart.cli.session import Session
from zart.cli.tables import TEXT, Column
from zart.models import Cause, ExplainedStep, Explanation

app = typer.Typer()

_CAUSES = (Column("CAUSE"), Column("WHY", words=TEXT))


@app.command(epilog=example("why order-7 charge-card"))
@reads
def why(
    session: Session,
    execution_id: ExecutionId,
    step_name: Annotated[
        str,
        typer.Argument(metavar="[STEP_NAME]", help="Default: each unfinished step, 100 of them."),
    ] = "",
    run: RunNumber = None,
) -> None:
    """Tell why a step is not completed: every cause that holds, and what to do next."""

    def show(answer: Explanation) -> None:
        for number, step in enumerate(answer.steps):
            if number:
                session.print("")
            _show(session, step)
        if not answer.steps:
            session.print("nothing to explain: every step is COMPLETED or CANCELLED")

    session.run(execution.explain_step(execution_id, step_name, run_number=run), show)


def _show(session: Session, step: ExplainedStep) -> None:
    session.print(f"{step.step_name} is {step.status}")
    if step.causes:
        rows = [(cause.kind, _told(cause)) for cause in step.causes]
        session.print_table(_CAUSES, rows)
    session.print(f"next: {step.next}")
    if step.next_command:
        _, *words = step.next_command  # the first is zart itself
        session.out.verbatim(f"  {session.line.hint(*words)}")


def _told(cause: Cause) -> str:
    """Write a cause with its times."""
    since = f"since {when(cause.since)}" if cause.since else ""
    until = f"until {when(cause.until)}" if cause.until else ""
    return " · ".join(filter(None, (cause.text, since, until)))
