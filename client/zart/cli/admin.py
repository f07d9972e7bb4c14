"""The commands that operate executions."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from zart.calls import admin, execution
from zart.cli import render
from zart.cli.options import MOST, ExecutionId, Limit, example, mutates, reads
from zart.cli.session import Session
from zart.cli.values import json_value, names_of, span_of
from zart.models import Paused, PauseRule, Rerun, Restarted, Resumed, RetriedStep, StepStatus

app = typer.Typer()

IfRunningOption = Annotated[
    str | None,
    typer.Option("--if-running", help="supersede (default) or fail.", metavar="supersede|fail"),
]
ExpectRun = Annotated[
    int | None,
    typer.Option("--expect-run", min=0, max=MOST, help="Refuse unless this is the current run."),
]
ScopeExecution = Annotated[str | None, typer.Option("--execution-id", help="Of this execution.")]
ScopeTask = Annotated[str | None, typer.Option("--task-name", help="Of this task.")]
ScopeStep = Annotated[str | None, typer.Option("--step", help="Step names: a glob, 'send-*'.")]


def _choice(if_running: str | None) -> str | None:
    if if_running is not None and if_running.lower() not in {"supersede", "fail"}:
        raise typer.BadParameter("supersede or fail", param_hint="--if-running")
    return if_running


def confirm_end_of_run(
    session: Session, execution_id: str, verb: str, expected: int | None
) -> int | None:
    """Name the steps in flight that would be fenced, and ask, where somebody is there.

    Gives the run that was shown, so that the call refuses another one.
    """
    if session.mutation.yes or not session.is_interactive:
        return expected
    state = session.client.get_execution(execution_id)
    in_flight = [s for s in state.steps if s.status is StepStatus.RUNNING]
    if in_flight:
        session.asking.line(f"in flight in {state.run.run_id}:")
        rows = list(map(render.step_row, in_flight))
        session.print_table(render.STEPS, rows, on=session.asking)
        session.confirm(f"{verb} all the same?")
    return state.run.run_number if expected is None else expected


@app.command(
    "retry-step", epilog=example("retry-step order-7 charge-card --reason 'card service is back'")
)
@mutates
def retry_step(
    session: Session,
    execution_id: ExecutionId,
    step_name: Annotated[str, typer.Argument(metavar="STEP_NAME")],
    max_attempts: Annotated[
        int | None, typer.Option("--max-attempts", min=1, max=MOST, help="The new budget.")
    ] = None,
    run_id: Annotated[str | None, typer.Option("--run-id", help="Must be the current run.")] = None,
    expect_run: ExpectRun = None,
) -> None:
    """Revive one dead step of the current run."""

    def show(answer: RetriedStep) -> None:
        step = answer.step
        waits = f": {step.waiting_on}" if step.waiting_on else ""
        session.print(f"{answer.run_id}/{step.step_name} is {step.status}{waits}")

    call = admin.retry_step(
        execution_id,
        step_name,
        run_id=run_id,
        max_attempts=max_attempts,
        expected_run_number=expect_run,
        **session.mutation.fields,
    )
    session.run(call, show)


@app.command(epilog=example("restart order-7 --reason 'new prices'"))
@mutates
def restart(
    session: Session,
    execution_id: ExecutionId,
    payload: Annotated[
        str | None, typer.Option("--payload", help="JSON, @FILE or -; default: as before.")
    ] = None,
    if_running: IfRunningOption = None,
    expect_run: ExpectRun = None,
) -> None:
    """End the current run and create the next from scratch."""
    value = json_value(payload)
    expected = confirm_end_of_run(session, execution_id, "restart", expect_run)

    def show(answer: Restarted) -> None:
        session.print(
            f"{answer.new_run_id} is {answer.run.status}", *render.fenced_lines(answer.fenced_steps)
        )

    call = admin.restart(
        execution_id,
        payload=value,
        if_running=_choice(if_running),
        expected_run_number=expected,
        **session.mutation.fields,
    )
    session.run(call, show)


@app.command(epilog=example("rerun order-7 --rerun enrich-data --dry-run"))
@mutates
def rerun(
    session: Session,
    execution_id: ExecutionId,
    force: Annotated[
        list[str] | None, typer.Option("--rerun", metavar="a,b", help="Steps to run again.")
    ] = None,
    preserve: Annotated[
        list[str] | None,
        typer.Option("--preserve", metavar="c", help="Completed dependants to keep."),
    ] = None,
    include_downstream: Annotated[
        bool, typer.Option("--include-downstream", help="Run all dependants again, too.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Plan only.")] = False,
    plan_token: Annotated[
        str, typer.Option("--plan-token", help="Refuse unless the plan is still this one.")
    ] = "",
    if_running: IfRunningOption = None,
    expect_run: ExpectRun = None,
) -> None:
    """Create the next run, with results of completed steps carried over."""
    expected = expect_run
    if not dry_run:
        expected = confirm_end_of_run(session, execution_id, "rerun", expect_run)

    def show(answer: Rerun) -> None:
        session.print(*render.rerun_lines(answer, is_plan=dry_run))
        if dry_run:
            session.print(f"to do just this: add --plan-token {answer.plan_token}")

    call = admin.rerun(
        execution_id,
        force_rerun=names_of(force),
        preserve=names_of(preserve),
        include_downstream=include_downstream,
        validate_only=dry_run,
        plan_token=plan_token,
        if_running=_choice(if_running),
        expected_run_number=expected,
        **session.mutation.fields,
    )
    session.run(call, show)


@app.command(epilog=example("pause --task-name order --step 'charge-*' --for 2h"))
@mutates
def pause(
    session: Session,
    execution_id: ScopeExecution = None,
    task_name: ScopeTask = None,
    step: ScopeStep = None,
    everything: Annotated[bool, typer.Option("--everything", help="Every step there is.")] = False,
    lasting: Annotated[
        str | None, typer.Option("--for", metavar="2h", help="Ends by itself after this long.")
    ] = None,
) -> None:
    """Withhold matching steps until resume or expiry."""
    scope = (execution_id, task_name, step)
    if not everything and all(value is None for value in scope):
        raise typer.BadParameter(
            "say what to pause: --execution-id, --task-name, --step, or --everything"
        )
    if everything and any(value is not None for value in scope):
        raise typer.BadParameter(
            "--everything stands alone, without --execution-id, --task-name or --step"
        )

    def show(answer: Paused) -> None:
        more = " or more" if answer.paused_steps_is_lower_bound else ""
        session.print(
            f"{answer.rule_id} pauses {render.scope_of(answer.rule)}",
            f"withheld  {answer.paused_steps}{more} ready steps",
            f"in flight {answer.running_steps} steps, which finish",
        )
        if answer.rule.expires_at:
            session.print(f"until     {render.when(answer.rule.expires_at)}")

    call = admin.pause(
        execution_id=execution_id,
        task_name=task_name,
        step_pattern=step,
        everything=everything,
        expires_in=span_of(lasting, "--for"),
        **session.mutation.fields,
    )
    session.run(call, show)


@app.command(epilog=example("resume --task-name order --step 'charge-*'"))
@mutates
def resume(
    session: Session,
    execution_id: ScopeExecution = None,
    task_name: ScopeTask = None,
    step: Annotated[str | None, typer.Option("--step", help="With this very pattern.")] = None,
    rule_id: Annotated[str | None, typer.Option("--rule-id", help="This one rule.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All rules.")] = False,
) -> None:
    """Delete pause rules: one, those with all of the given scope, or all."""
    scope: dict[str, Any] = {
        "execution_id": execution_id,
        "task_name": task_name,
        "step_pattern": step,
    }
    has_scope = any(value is not None for value in scope.values())
    if sum((rule_id is not None, has_scope, everything)) > 1:
        raise typer.BadParameter(
            "give one of --rule-id, --all, or a scope of --execution-id, --task-name, --step"
        )
    means_all = rule_id is None and not has_scope
    if means_all and not everything and not session.is_interactive:
        raise typer.BadParameter("resuming everything needs --all", param_hint="--all")
    if session.is_interactive and not session.mutation.yes:
        doomed = [
            r for r in session.client.list_pause_rules(**scope) if rule_id in {None, r.rule_id}
        ]
        _confirm_rules(session, doomed)

    def show(answer: Resumed) -> None:
        more = " or more" if answer.released_steps_is_lower_bound else ""
        session.print(f"deleted   {answer.rules_deleted} rules")
        if answer.rules:
            session.print_table(render.RULES, list(map(render.rule_row, answer.rules)))
        session.print(
            f"released  {answer.released_steps}{more} steps",
            f"still     {answer.still_paused_steps} paused by other rules",
        )

    call = admin.resume(
        rule_id=rule_id,
        **scope,
        everything=everything or means_all,
        **session.mutation.fields,
    )
    session.run(call, show)


def _confirm_rules(session: Session, doomed: list[PauseRule]) -> None:
    if not doomed:
        return
    session.print_table(render.RULES, list(map(render.rule_row, doomed)), on=session.asking)
    session.confirm(f"delete {'this rule' if len(doomed) == 1 else 'these rules'}?")


@app.command("pause-list", epilog=example("pause-list --include-deleted"))
@reads
def pause_list(
    session: Session,
    execution_id: ScopeExecution = None,
    task_name: ScopeTask = None,
    step: Annotated[str | None, typer.Option("--step", help="With this very pattern.")] = None,
    include_deleted: Annotated[
        bool, typer.Option("--include-deleted", help="Resumed and expired ones, too.")
    ] = False,
    limit: Limit = 0,
) -> None:
    """List pause rules, newest first."""
    call = admin.list_pause_rules(
        execution_id=execution_id,
        task_name=task_name,
        step_pattern=step,
        include_deleted=include_deleted,
    )
    session.run_list(call, limit, render.RULES, render.rule_row)


@app.command(epilog=example("runs order-7"))
@reads
def runs(session: Session, execution_id: ExecutionId, limit: Limit = 0) -> None:
    """List the runs of an execution."""
    session.run_list(admin.list_runs(execution_id), limit, render.RUNS, render.run_row)


@app.command(epilog=example("history order-7"))
@reads
def history(session: Session, execution_id: ExecutionId, limit: Limit = 50) -> None:
    """Tell who did what to an execution, newest first."""
    call = execution.list_operations(execution_id=execution_id)
    session.run_list(call, limit, render.OPERATIONS, render.operation_row)
