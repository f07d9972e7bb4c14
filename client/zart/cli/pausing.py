"""The commands that pause steps and resume them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from zart.calls import admin, resuming
from zart.cli import render
from zart.cli.completing import rule_ids
from zart.cli.drained import run_and_wait
from zart.cli.options import Lasting, ScopeExecution, ScopeTask, example, plans
from zart.cli.planning import planned, was_done
from zart.cli.refusing import refuse
from zart.cli.releasing import follow_release, pace_of
from zart.cli.rule_rows import RULES, rule_row
from zart.cli.session import Plan, Session
from zart.cli.standing import tell_if_it_ended
from zart.cli.values import counted, rate_of, span_of, written_rate
from zart.models import OperationKind, Paused, PauseRule, Resumed, WarningKind

app = typer.Typer()

_EXACT_TO = 10_000  # steps that a Resume counts

ScopeStep = Annotated[str | None, typer.Option("--step", help="Step names: a glob, 'send-*'.")]


@app.command(epilog=example("pause --task-name order --step 'charge-*' --wait --wait-for 5m"))
@plans
def pause(
    session: Session,
    execution_id: ScopeExecution = None,
    task_name: ScopeTask = None,
    step: ScopeStep = None,
    everything: Annotated[bool, typer.Option("--everything", help="Every step there is.")] = False,
    lasting: Lasting = None,
    then: Annotated[
        str | None,
        typer.Option("--then-rate", metavar="40/s", help="Then releases so many steps a second."),
    ] = None,
    future: Annotated[
        bool, typer.Option("--future", help="Though nothing that there is matches, by now.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until nothing of it is in flight.")
    ] = False,
    wait_for: Annotated[
        str | None,
        typer.Option("--wait-for", metavar="5m", help="Wait so long at most; then exit 5."),
    ] = None,
) -> None:
    """Withhold matching steps until resume or expiry.

    What is in flight finishes; --wait waits for that. Exit 5 when it took too long (the rule
    stands), 4 when the rule was ended meanwhile.
    """
    scope = (execution_id, task_name, step)
    if not everything and all(value is None for value in scope):
        raise typer.BadParameter(
            "say what to pause: --execution-id, --task-name, --step, or --everything"
        )
    if everything and any(value is not None for value in scope):
        raise typer.BadParameter(
            "--everything stands alone, without --execution-id, --task-name or --step"
        )

    asked: dict[str, Any] = {
        "execution_id": execution_id,
        "task_name": task_name,
        "step_pattern": step,
        "everything": everything,
        "expires_in": span_of(lasting, "--for"),
        "release_on_expiry": rate_of(then, "--then-rate"),
        "must_match": not future,
    }
    if session.is_interactive and not (session.mutation.yes or session.plan):
        _confirm_pause(session, asked)

    def show(answer: Paused) -> None:
        session.print(*_pause_lines(answer))
        for warning in answer.warnings:
            session.tell(f"warning: {warning.message}")
        tell_if_it_ended(session, answer)

    call = admin.pause(**asked, **session.plan.fields, **session.mutation.fields)
    within = span_of(wait_for, "--wait-for")
    if session.plan.dry_run or not (wait or within is not None):
        session.run(call, show)
    else:
        run_and_wait(session, call, show, within)


def _pause_lines(answer: Paused) -> list[str]:
    more = " or more" if answer.paused_steps_is_lower_bound else ""
    scope = render.scope_of(answer.rule)
    if not answer.planned:
        lines = [
            f"{answer.rule_id} pauses {scope}",
            f"withheld  {counted(answer.paused_steps, 'ready step', more)}",
            f"in flight {counted(answer.running_steps, 'step')}, which finish",
        ]
    else:
        many = " or more" if answer.executions_is_lower_bound else ""
        some = ", ".join(answer.sample_execution_ids)
        lines = [
            f"would pause {scope}",
            f"withheld  {counted(answer.paused_steps, 'ready step', more)}"
            + (f", since {render.when(oldest)}" if (oldest := answer.oldest_ready_at) else ""),
            f"in flight {counted(answer.running_steps, 'step')}, which finish",
            f"concerns  {counted(answer.executions, 'unfinished execution', many)}"
            + (f", as {some}" if some else ""),
        ]
    if answer.rule.expires_at:
        lines.append(f"until     {render.when(answer.rule.expires_at)}")
    return lines


def _confirm_pause(session: Session, asked: dict[str, Any]) -> None:
    """Ask before everything is paused, and before a rule that there is already.

    A repeat adds none, so it is not asked of those.
    """
    plan = planned(session, admin.pause(**asked, validate_only=True), OperationKind.PAUSE)
    if plan is None:
        return
    equal = [w.message for w in plan.warnings if w.kind is WarningKind.EQUAL_RULE]
    if not plan.rule.everything and (not equal or was_done(session, OperationKind.PAUSE)):
        return
    for line in (*_pause_lines(plan), *equal):
        session.asking.line(line)
    session.confirm("pause everything?" if plan.rule.everything else "add a second rule?")


@app.command(epilog=example("resume --rule-id pr-7k2m9x4q --rate 40/s"))
@plans
def resume(
    session: Session,
    execution_id: ScopeExecution = None,
    task_name: ScopeTask = None,
    step: Annotated[str | None, typer.Option("--step", help="With this very pattern.")] = None,
    rule_id: Annotated[
        str | None,
        typer.Option("--rule-id", help="This one rule.", autocompletion=rule_ids),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All rules.")] = False,
    canary: Annotated[
        int | None,
        typer.Option("--canary", min=1, max=10_000, help="Only its oldest so many steps."),
    ] = None,
    rate: Annotated[
        str | None, typer.Option("--rate", metavar="40/s", help="So many steps a second.")
    ] = None,
) -> None:
    """Delete pause rules: one, those with all of the given scope, or all.

    With --canary or --rate one rule lets steps go, and stands until all went.
    """
    pace = pace_of(canary, rate)
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
    is_meant = not session.mutation.yes or session.mutation.may_repeat or bool(session.plan)
    if means_all and not everything and not (session.is_interactive and is_meant):
        raise typer.BadParameter("resuming everything needs --all", param_hint="--all")
    asked: dict[str, Any] = {
        "rule_id": rule_id,
        **scope,
        "everything": everything or means_all,
        "canary": canary,
        "rate_per_second": pace,
    }
    if session.is_interactive and not (session.mutation.yes or session.plan):
        session.plan = _confirm_resume(session, asked)

    def show(answer: Resumed) -> None:
        _check_anything_ended(session, answer)
        more = " or more" if answer.released_steps_is_lower_bound else ""
        if pace is not None:
            verb = "would release" if answer.planned else "releases "
            went = counted(answer.released_steps, "step", more)
            session.print(f"{verb} {went} at {written_rate(pace)}/s")
            return
        if canary is None:
            verb = "would end" if answer.planned else "deleted  "
            session.print(f"{verb} {counted(answer.rules_deleted, 'rule')}")
        if answer.rules:
            session.print_table(RULES, list(map(rule_row, answer.rules)))
            session.print(*_rest_lines(answer))
        if canary is None:
            session.print(*_closed_lines(answer))
        steps = counted(answer.released_steps, "step", more)
        session.print(
            f"would let {steps} go" if answer.planned else f"released  {steps}",
            f"still     {answer.still_paused_steps}{more} paused by other rules",
        )
        if answer.still_releasing_rules:
            session.print(f"releasing {', '.join(answer.still_releasing_rules)}: name it to end it")

    call = resuming.resume(**asked, **session.plan.fields, **session.mutation.fields)
    answer = session.run(call, show)
    _check_anything_ended(session, answer)
    follow_release(session, answer)


def _rest_lines(answer: Resumed) -> list[str]:
    """Say how many rules the answer had no room for."""
    rest = answer.rules_deleted - len(answer.rules)
    return [f"and {counted(rest, 'rule')} more"] if rest > 0 else []


def _closed_lines(answer: Resumed) -> list[str]:
    """Name the breakers that close with their rules."""
    verb = "would close" if answer.planned else "closed   "
    return [
        f"{verb} {rule.breaker_id}, whose rule {rule.rule_id} was"
        for rule in answer.rules
        if rule.breaker_id
    ]


def _check_anything_ended(session: Session, answer: Resumed) -> None:
    """Say so where no rule was there to be ended: that is no order that was done."""
    if answer.rules_deleted or not all(rule.deleted_at for rule in answer.rules):
        return
    ended = [f"{r.rule_id} ended before, by {r.deleted_by or 'nobody named'}" for r in answer.rules]
    ended += [f"{rule_id} is RELEASING: name it" for rule_id in answer.still_releasing_rules]
    refuse(session, f"{', '.join(ended) or 'no rule has this scope'}: nothing was done")


def _confirm_resume(session: Session, asked: dict[str, Any]) -> Plan:
    """Show what would be ended, and ask; return the plan of just that.

    Rules that others make until there is an answer are not ended by it.
    """
    plan = planned(session, resuming.resume(**asked, validate_only=True), OperationKind.RESUME)
    if plan is None:
        return Plan()
    doomed = [rule for rule in plan.rules if not rule.deleted_at]
    if doomed:
        _confirm_rules(session, plan, doomed, asked["canary"], asked["rate_per_second"])
    return Plan(plan_token=plan.plan_token)


def _steps_and_rest(plan: Resumed) -> tuple[str, str]:
    """Say how many steps a plan lets go, and in parentheses what other rules keep of them.

    Of more than are counted any so many were looked at: either number may be larger by far.
    """
    going, others = plan.released_steps, plan.still_paused_steps
    if not plan.released_steps_is_lower_bound:
        stays = "stays" if others == 1 else "stay"
        stay = f" ({others} {stays} paused by other rules)" if others else ""
        return counted(going, "step"), stay
    if not others:
        return counted(going, "step", " or more"), " (others may stay paused by other rules)"
    more = f" of more than {_EXACT_TO}" if going + others >= _EXACT_TO else ""
    steps = f"{going} or more{more} steps"
    return steps, f" ({others} or more stay paused by other rules)"


def _confirm_rules(
    session: Session,
    plan: Resumed,
    doomed: list[PauseRule],
    canary: int | None,
    pace: float | None,
) -> None:
    """Ask for the rules that a plan would end, with what goes then and what other rules keep."""
    session.print_table(RULES, list(map(rule_row, doomed)), on=session.asking)
    rest = _rest_lines(plan)
    which = " ".join(["this rule" if len(doomed) == 1 else "these rules", *rest])
    # A step that two of the rules withhold is one step: those of each rule are no sum.
    steps, stay = _steps_and_rest(plan)
    if canary is not None:  # of one rule, which the table counts
        session.confirm(f"release {counted(plan.released_steps, 'step')} of {which}, the oldest?")
    elif pace is not None:
        session.confirm(f"release {steps} of {which} at {written_rate(pace)}/s{stay}?")
    else:
        closes = [rule.breaker_id for rule in doomed if rule.breaker_id]
        if closes and rest:
            closes.append("those of the others")
        closing = f" and close {', '.join(closes)}" if closes else ""
        session.confirm(f"delete {which}{closing}, which lets {steps} go{stay}?")
