"""The commands that end a step by hand."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from zart.calls import changes
from zart.cli import done
from zart.cli.admin import ExpectRun
from zart.cli.options import MOST, ExecutionId, example, plans
from zart.cli.session import Session
from zart.cli.values import json_value
from zart.models import EndedStep, StepStatus

app = typer.Typer()

StepName = Annotated[str, typer.Argument(metavar="STEP_NAME")]
Fence = Annotated[
    bool, typer.Option("--fence", help="Also if it is in flight; its late result is refused.")
]
ExpectAttempt = Annotated[
    int | None,
    typer.Option(
        "--expect-attempt", min=0, max=MOST, help="Refuse unless this is its last attempt."
    ),
]


def _confirm_fence(
    session: Session,
    execution_id: str,
    step_name: str,
    expect_attempt: int | None,
    expect_run: int | None,
    *,
    fence: bool,
) -> dict[str, Any]:
    """Name who works on the step, and ask, where somebody is there.

    Gives what the call is to expect: the attempt and the run that were shown, unless others are
    given. A repeat stays as it was.
    """
    given = {"expected_attempt": expect_attempt, "expected_run_number": expect_run}
    if not fence or session.mutation.yes or session.plan or not session.is_interactive:
        return given
    run = session.client.get_execution(execution_id).run.run_number
    step = session.client.get_step(execution_id, step_name, run_number=run)
    if step.status is StepStatus.RUNNING:
        session.asking.line(
            f"{step.step_name} is in flight: attempt {step.attempt} of run {run}, on"
            f" {step.lease_owner}; its handler may still have its effect"
        )
        session.confirm("end the step all the same?")
    if session.mutation.may_repeat:
        return given
    return {
        "expected_attempt": step.attempt if expect_attempt is None else expect_attempt,
        "expected_run_number": run if expect_run is None else expect_run,
    }


def _show(session: Session, answer: EndedStep) -> None:
    step = answer.step
    how = {"SKIPPED_BY_OPERATOR": " (skipped)", "COMPLETED_BY_OPERATOR": " (by hand)"}
    session.print(
        f"{answer.run_id}/{step.step_name} {done.be(answer)} {step.status}"
        f"{how.get(step.resolution, '')}, the run {answer.run_status}",
        *done.fenced_lines(answer.fenced_steps),
    )


@app.command(
    "complete-step",
    epilog=example("complete-step order-7 charge-card --result '{\"id\": 17}'"),
)
@plans
def complete_step(
    session: Session,
    execution_id: ExecutionId,
    step_name: StepName,
    result: Annotated[str, typer.Option("--result", help="JSON, @FILE or -.")],
    fence: Fence = False,
    expect_attempt: ExpectAttempt = None,
    expect_run: ExpectRun = None,
) -> None:
    """Complete a step by hand, with a result."""
    value = json_value(result, "--result")
    expected = _confirm_fence(
        session, execution_id, step_name, expect_attempt, expect_run, fence=fence
    )
    call = changes.complete_step(
        execution_id,
        step_name,
        value,
        fence=fence,
        **expected,
        **session.plan.fields,
        **session.mutation.fields,
    )
    session.run(call, lambda answer: _show(session, answer))


@app.command(
    "skip-step", epilog=example("skip-step order-7 send-mail --reason 'the customer has called'")
)
@plans
def skip_step(
    session: Session,
    execution_id: ExecutionId,
    step_name: StepName,
    fence: Fence = False,
    expect_attempt: ExpectAttempt = None,
    expect_run: ExpectRun = None,
) -> None:
    """Skip a step: complete it by hand, without a result."""
    expected = _confirm_fence(
        session, execution_id, step_name, expect_attempt, expect_run, fence=fence
    )
    call = changes.complete_step(
        execution_id,
        step_name,
        skip=True,
        fence=fence,
        **expected,
        **session.plan.fields,
        **session.mutation.fields,
    )
    session.run(call, lambda answer: _show(session, answer))


@app.command(
    "fail-step", epilog=example("fail-step order-7 ship --message 'address unknown' --fence")
)
@plans
def fail_step(
    session: Session,
    execution_id: ExecutionId,
    step_name: StepName,
    message: Annotated[str, typer.Option("--message", help="The error's message.")],
    fence: Fence = False,
    expect_attempt: ExpectAttempt = None,
    expect_run: ExpectRun = None,
) -> None:
    """Fail a step for good by hand."""
    expected = _confirm_fence(
        session, execution_id, step_name, expect_attempt, expect_run, fence=fence
    )
    call = changes.fail_step(
        execution_id,
        step_name,
        message,
        fence=fence,
        **expected,
        **session.plan.fields,
        **session.mutation.fields,
    )
    session.run(call, lambda answer: _show(session, answer))
