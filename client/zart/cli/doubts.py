"""The commands about steps that may have happened."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated

import typer

from zart.calls.doubts import list_in_doubt, resolve_in_doubt
from zart.calls.filters import ExecutionFilter
from zart.cli import render
from zart.cli.options import MOST, ExecutionId, Limit, example, mutates, reads_filtered
from zart.cli.refusing import refuse
from zart.cli.session import Session
from zart.cli.tables import NAMES, TEXT, Column
from zart.cli.values import refuse_no_time, time_of
from zart.models import AttemptStatus, InDoubtAttempt, OperationKind, ResolvedInDoubt

app = typer.Typer()
_COLUMNS = (
    Column("AGE"),
    Column("EXECUTION", words=NAMES),
    Column("RUN", rank=2),
    Column("STEP", words=NAMES),
    Column("ATTEMPT", rank=1),
    Column("TOLD LATER", words=TEXT),
    Column("ENDED", rank=3),
    Column("DISPATCHER", rank=4, words=NAMES),
)
_UNCLEAR = {AttemptStatus.LOST, AttemptStatus.TIMED_OUT, AttemptStatus.ABANDONED}
_FINDINGS = ("happened", "did-not-happen")


@app.command("in-doubt", epilog=example("in-doubt --task-name order --step 'charge-*'"))
@reads_filtered
def in_doubt(
    session: Session,
    wanted: ExecutionFilter,
    since: Annotated[
        str | None,
        typer.Option("--since", help="As --dead-after: when they ended.", metavar="TIME|AGE"),
    ] = None,
    prefix: Annotated[str, typer.Option("--prefix", hidden=True)] = "",
    limit: Limit = 0,
) -> None:
    """List the attempts that may have had their effect, though nobody reported it.

    The filter's step is the attempt's own, and its times of deaths are of the attempt's end, also
    where that step is not dead.
    """
    if since is not None and wanted.dead_after is not None:
        raise typer.BadParameter("give --since or --dead-after", param_hint="--since")
    if prefix and wanted.execution_id_prefix:
        raise typer.BadParameter("give --id-prefix or --prefix", param_hint="--prefix")
    chosen = wanted
    if since is not None:
        chosen = replace(wanted, dead_after=time_of(since, "--since"))
        refuse_no_time(("--since", chosen.dead_after), ("--dead-before", wanted.dead_before))
    if prefix:  # the name that --id-prefix had here, which scripts may still have
        chosen = replace(chosen, execution_id_prefix=prefix)
    call = list_in_doubt(chosen)
    session.run_list(call, limit, _COLUMNS, _row_at(datetime.now(UTC)))


def _row_at(now: datetime) -> Callable[[InDoubtAttempt], Sequence[str]]:
    def row(item: InDoubtAttempt) -> Sequence[str]:
        return (
            render.age(item.ended_at, now),
            item.execution_id,
            str(item.run_number),
            item.step_name,
            str(item.attempt),
            _told(item),
            item.ended_as,
            item.dispatcher_id,
        )

    return row


def _told(item: InDoubtAttempt) -> str:
    """Write what the dispatcher told after all."""
    late = item.late_outcome
    if late is None:
        return ""
    if late.error is not None:
        return f"{late.status} {render.error_line(late.error)}"
    if late.result_omitted:
        return f"{late.status} with a large result"
    if late.result is None:
        return late.status
    return f"{late.status} {json.dumps(late.result, default=str)}"  # a Decimal of many digits


@app.command(epilog=example("resolve order-7 charge-card happened --reason 'on the bill'"))
@mutates
def resolve(
    session: Session,
    execution_id: ExecutionId,
    step_name: Annotated[str, typer.Argument(metavar="STEP_NAME")],
    finding: Annotated[str, typer.Argument(metavar="happened|did-not-happen")],
    run: Annotated[
        int | None,
        typer.Option("--run", min=0, max=MOST, help="The run.", show_default="the only one"),
    ] = None,
    attempt: Annotated[
        int | None,
        typer.Option("--attempt", min=1, max=MOST, help="Its number.", show_default="the only one"),
    ] = None,
) -> None:
    """Record whether an attempt in doubt happened; the step stays as it is."""
    if finding not in _FINDINGS:
        raise typer.BadParameter(" or ".join(_FINDINGS), param_hint="happened|did-not-happen")
    if run is None or attempt is None:
        find = _resolved_before if session.mutation.may_repeat else _only_one
        run, attempt = find(session, execution_id, step_name, run, attempt)

    def show(answer: ResolvedInDoubt) -> None:
        item = answer.item
        found = item.finding.lower().replace("_", " ")
        session.print(
            f"attempt {item.attempt} of {item.execution_id}:run:{item.run_number}/{item.step_name}"
            f" is resolved: {found}"
        )

    call = resolve_in_doubt(
        execution_id,
        step_name,
        finding,
        run_number=run,
        attempt=attempt,
        **session.mutation.fields,
    )
    session.run(call, show)


def _resolved_before(
    session: Session, execution_id: str, step_name: str, run: int | None, attempt: int | None
) -> tuple[int, int]:
    """Find the attempt that a repeat resolved, in doubt no longer; else the one that is."""
    mine = (step_name, session.mutation.request_id)
    made = session.client.list_operations(
        execution_id=execution_id, kind=OperationKind.RESOLVE_IN_DOUBT
    )
    runs = (each.run_number for each in made if (each.step_name, each.request_id) == mine)
    of_run = next(runs, None)
    if of_run is None:
        return _only_one(session, execution_id, step_name, run, attempt)
    number = of_run if run is None else run
    if attempt is not None:
        return number, attempt
    step = session.client.get_step(execution_id, step_name, run_number=number)
    ended = [
        each.attempt for each in step.attempts if each.status in _UNCLEAR and not each.in_doubt
    ]
    if len(ended) == 1:
        return number, ended[0]
    one = ", ".join(f"--run {number} --attempt {n}" for n in ended) or "--run and --attempt"
    raise typer.BadParameter(f"say which attempt it resolved: {one}", param_hint="--attempt")


def _only_one(
    session: Session, execution_id: str, step_name: str, run: int | None, attempt: int | None
) -> tuple[int, int]:
    """Find the attempt of a step that is in doubt; of several, one has to be named.

    Where none is, it is the one that the server is to say of why not: who resolved it, and as what.
    """
    chosen = ExecutionFilter(execution_id_prefix=execution_id)
    found = [
        (item.run_number, item.attempt)
        for item in session.client.list_in_doubt(chosen)
        if (item.execution_id, item.step_name) == (execution_id, step_name)
        and run in (None, item.run_number)
        and attempt in (None, item.attempt)
    ]
    if not found:
        return _last_of(session, execution_id, step_name, run, attempt)
    if len(found) > 1:
        those = ", ".join(f"--run {number} --attempt {n}" for number, n in sorted(found))
        refuse(session, f"several attempts are in doubt: name one of {those}")
    return found[0]


def _last_of(
    session: Session, execution_id: str, step_name: str, run: int | None, attempt: int | None
) -> tuple[int, int]:
    """Find the attempt of a step that is meant though none is in doubt.

    It is the last one of its run that was resolved, else the last one that has ended. Raises what
    GetExecution and GetStep do.
    """
    number = _run_meant(session, execution_id, step_name, attempt) if run is None else run
    if attempt is not None:
        return number, attempt
    step = session.client.get_step(execution_id, step_name, run_number=number)
    ended = [each for each in step.attempts if each.status is not AttemptStatus.RUNNING]
    if len(ended) < len(step.attempts) or not ended:  # it may come to be in doubt only now
        what = f"no attempt of {execution_id}/{step_name} is in doubt"
        refuse(session, f"{what}: the step is {step.status}")
    unclear = [each for each in ended if each.status in _UNCLEAR and not each.in_doubt]
    return number, (unclear or ended)[-1].attempt


def _run_meant(session: Session, execution_id: str, step_name: str, attempt: int | None) -> int:
    """Find the run that is meant: the current one, where an attempt of its may be.

    Else it is the one before it of which something was resolved last, if any was. Executions that
    were removed may have had the same id, and runs of the same numbers.
    """
    state = session.client.get_execution(execution_id)
    current = state.run.run_number
    if any(each.step_name == step_name for each in state.steps):
        step = session.client.get_step(execution_id, step_name, run_number=current)
        for each in step.attempts:
            is_unclear = each.status in _UNCLEAR or each.status is AttemptStatus.RUNNING
            if is_unclear if attempt is None else each.attempt == attempt:
                return current
    made = session.client.list_operations(
        execution_id=execution_id,
        kind=OperationKind.RESOLVE_IN_DOUBT,
        created_after=state.execution.created_at,
    )
    of_step = (each.run_number for each in made if each.step_name == step_name)
    return next((run for run in of_step if run is not None and run < current), current)
