"""The command that sets when a pause rule ends by itself."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from zart.calls import admin
from zart.cli.options import Lasting, RuleId, example, plans
from zart.cli.render import scope_of, when
from zart.cli.session import Session
from zart.cli.values import is_age, span_of, time_to_come, written_rate
from zart.errors import PauseRuleNotFound
from zart.models import PauseRule, UpdatedPauseRule

app = typer.Typer()


@app.command(
    "pause-update", epilog=example("pause-update pr-7k2m9x4q --for 2h --reason 'still down'")
)
@plans
def pause_update(
    session: Session,
    rule_id: RuleId,
    lasting: Lasting = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="Ends by itself at this time.")
    ] = None,
    forever: Annotated[bool, typer.Option("--forever", help="Does not end by itself.")] = False,
) -> None:
    """Set when a pause rule ends.

    --for counts from now on, whatever was set before. Times are as 2026-01-31T14:00Z, in UTC unless
    they say so.
    """
    if (lasting is not None) + (until is not None) + forever != 1:
        raise typer.BadParameter("give one of --for, --until and --forever")
    call = admin.update_pause_rule(
        rule_id,
        expires_at=_end(until),
        expires_in=span_of(lasting, "--for"),
        never_expires=forever,
        **session.plan.fields,
        **session.mutation.fields,
    )
    before = None if session.is_json else _as_it_is(session, rule_id)
    session.run(call, lambda answer: session.print(*_lines(answer, before)))


def _end(until: str | None) -> datetime | None:
    """Read ``--until``; who gives an age means what ``--for`` is for."""
    if until is not None and is_age(until):
        raise typer.BadParameter(
            f"{until!r} is no time; --for {until} is so long from now on", param_hint="--until"
        )
    return time_to_come(until, "--until")


def _as_it_is(session: Session, rule_id: str) -> PauseRule | None:
    """Read a rule before it is changed; None for one that is not there, as the change will say."""
    try:
        return session.client.send(admin.get_pause_rule(rule_id))
    except PauseRuleNotFound:
        return None


def _lines(answer: UpdatedPauseRule, before: PauseRule | None) -> list[str]:
    """Tell what a rule pauses, until when, and what was set before: of a repeat nobody knows it."""
    rule = answer.rule
    until = _end_of(rule)
    if before is not None and not answer.replayed:
        was = _end_of(before)
        until += " (as before)" if was == until else f" (before: until {was})"
    lines = [
        f"{rule.rule_id} {'would pause' if answer.planned else 'pauses'} {scope_of(rule)}",
        f"until     {until}",
    ]
    after = rule.release_on_expiry if rule.expires_at else None
    if after is not None:
        lines.append(f"then      releases {written_rate(after.rate_per_second)} steps a second")
    if rule.breaker_id:
        lines.append(f"breaker   {rule.breaker_id} closes then, and may end it before")
    return lines


def _end_of(rule: PauseRule) -> str:
    return when(rule.expires_at) or "it is resumed"
