"""The command that shows two runs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer

from zart.calls import changes
from zart.cli.options import MOST, ExecutionId, example, reads
from zart.cli.render import error_line, took
from zart.cli.session import Session
from zart.cli.tables import TEXT, Column
from zart.models import ComparedRuns, ComparedStep, Run, RunSide

app = typer.Typer()

_EPOCH = datetime.fromtimestamp(0, UTC)


@app.command(epilog=example("diff order-7 0 1"))
@reads
def diff(
    session: Session,
    execution_id: ExecutionId,
    base: Annotated[
        int | None,
        typer.Argument(metavar="[BASE]", min=0, max=MOST, help="Default: the run before RUN."),
    ] = None,
    run: Annotated[
        int | None,
        typer.Argument(metavar="[RUN]", min=0, max=MOST, help="Default: the current one."),
    ] = None,
) -> None:
    """Compare two runs of an execution, step by step."""

    def show(answer: ComparedRuns) -> None:
        session.print(_run_line("base", answer.base), _run_line("compared", answer.compared))
        session.print(f"payload   {'the same' if answer.payload_equal else 'another'}")
        session.print_table(
            (
                Column("STEP"),
                Column(f"RUN {answer.base.run_number}"),
                Column(f"RUN {answer.compared.run_number}"),
                Column("RESULT"),
                Column("TOOK", rank=1),
                Column("ERROR", rank=2, words=TEXT),
            ),
            list(map(_row, answer.steps)),
        )

    session.run(changes.compare_runs(execution_id, base, run), show)


def _run_line(label: str, run: Run) -> str:
    return f"{label:<10}{run.run_id}  {run.status}  ({run.trigger})"


def _row(step: ComparedStep) -> Sequence[str]:
    times = [_took(step.base), _took(step.compared)]
    errors = [error_line(side.error) for side in (step.base, step.compared) if side is not None]
    told = [error for number, error in enumerate(errors) if error and error not in errors[:number]]
    return (
        step.step_name,
        _state(step.base),
        _state(step.compared),
        _result(step),
        "" if _is_kept(step) or not any(times) else " → ".join(time or "-" for time in times),
        " → ".join(told),
    )


def _state(side: RunSide | None) -> str:
    if side is None:
        return "no such step"
    return f"{side.status} ({side.attempts})" if side.attempts > 1 else side.status


def _took(side: RunSide | None) -> str:
    if side is None or side.duration is None:
        return ""
    return took(_EPOCH, _EPOCH + side.duration)


def _is_kept(step: ComparedStep) -> bool:
    """Return whether it kept the result of the base, or one that is the same, of a run since."""
    return step.preserved and step.result_equal is True  # as the server tells of what is one


def _result(step: ComparedStep) -> str:
    if _is_kept(step):
        return "kept"
    if step.result_equal is None:
        return ""
    return "the same" if step.result_equal else "another"
