"""The command that exempts executions from a pause rule, to prove a fix on one of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from zart.calls import admin, execution
from zart.cli import completing, render
from zart.cli.options import RuleId, example, plans
from zart.cli.planning import planned, was_done
from zart.cli.refusing import refuse
from zart.cli.session import Session
from zart.cli.values import counted
from zart.models import OperationKind, UpdatedPauseRule

app = typer.Typer()


@app.command(epilog=example("exempt pr-7k2m9x4q order-7 --reason 'the fix, proven on one'"))
@plans
def exempt(
    session: Session,
    rule_id: RuleId,
    execution_ids: Annotated[
        list[str],
        typer.Argument(metavar="EXECUTION_ID...", autocompletion=completing.execution_ids),
    ],
    undo: Annotated[bool, typer.Option("--undo", help="Match them again.")] = False,
) -> None:
    """Let steps of executions run though a pause rule matches them."""
    if undo:
        _check_are_exempt(session, rule_id, execution_ids)
    else:
        _check_may_match(session, rule_id, execution_ids)

    def show(answer: UpdatedPauseRule) -> None:
        named = ", ".join(execution_ids)
        verb = "would exempt" if answer.planned else "exempts"
        if undo:
            again = counted(answer.withheld_again_steps, "ready step")
            session.print(
                f"{rule_id} {verb} {named} no longer",
                f"would withhold {again} again" if answer.planned else f"withheld again {again}",
            )
        else:
            steps = counted(answer.released_steps, "step")
            session.print(
                f"{rule_id} {verb} {named}",
                f"would release {steps}" if answer.planned else f"released {steps}",
            )

    call = admin.update_pause_rule(
        rule_id,
        exempt=() if undo else execution_ids,
        unexempt=execution_ids if undo else (),
        **session.plan.fields,
        **session.mutation.fields,
    )
    session.run(call, show)


def _check_may_match(session: Session, rule_id: str, execution_ids: Sequence[str]) -> None:
    """Refuse an id that no execution has, and an execution that the rule never matches.

    That is of another task, or another one than the rule names: to exempt it would change nothing.
    Of a rule that has ended the server says so.
    """
    _, rule = session.send(admin.get_pause_rule(rule_id))
    if rule.deleted_at is not None:
        return
    others = []
    for execution_id in execution_ids:
        _, state = session.send(execution.get_execution(execution_id))
        is_its = rule.execution_id in (None, execution_id)
        if not is_its or rule.task_name not in (None, state.execution.task_name):
            others.append(execution_id)
    if others:
        named, scope = ", ".join(others), render.scope_of(rule)
        refuse(session, f"{rule_id} pauses {scope}, nothing of {named}: nothing was done")


def _check_are_exempt(session: Session, rule_id: str, execution_ids: Sequence[str]) -> None:
    """Refuse an id that the rule does not exempt, unless an earlier call of this request saw to it.

    A plan is none of its calls. Of a rule that has ended the server says so.
    """
    rule = planned(session, admin.get_pause_rule(rule_id), OperationKind.UPDATE_PAUSE_RULE)
    if rule is None or rule.deleted_at is not None:
        return
    known = rule.exempt_execution_ids
    others = [execution_id for execution_id in execution_ids if execution_id not in known]
    if not others:
        return
    if session.plan.dry_run or not was_done(session, OperationKind.UPDATE_PAUSE_RULE):
        refuse(session, f"{rule_id} does not exempt {', '.join(others)}: nothing was done")
