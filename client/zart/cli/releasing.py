"""Follows a release with a bar, and the command that stops one."""

from __future__ import annotations

from datetime import UTC, datetime

import typer

from zart.calls import admin, resuming
from zart.cli import render
from zart.cli.bar import Bar
from zart.cli.options import RuleId, example, mutates
from zart.cli.release_ends import tell_end
from zart.cli.screen import ReaderLeft
from zart.cli.session import Session
from zart.cli.values import rate_of
from zart.cli.watching import watched
from zart.models import PauseRule, PauseRuleRelease, PauseRuleStatus, Resumed, WatchUntil

app = typer.Typer()

_OTHERWISE = 4  # what was waited for ended in another way


def pace_of(canary: int | None, rate: str | None) -> float | None:
    """Read the rate of ``--rate``, which ``--canary`` goes without."""
    if canary is not None and rate is not None:
        raise typer.BadParameter("give --canary or --rate, not both")
    return rate_of(rate, "--rate")


def follow_release(session: Session, answer: Resumed) -> None:
    """Watch a rule at a terminal until it has let all steps go; Ctrl-C leaves it going.

    Exit 4 where it ended in another way.
    """
    releasing = [rule for rule in answer.rules if rule.status is PauseRuleStatus.RELEASING]
    if answer.planned or not releasing or not session.is_interactive or session.is_json:
        return
    (rule,) = releasing
    last = rule
    call = admin.watch_pause_rule(rule.rule_id, until=WatchUntil.ENDED)
    try:
        with Bar(session.err) as bar:
            for message in watched(session, call, bar=bar):
                rule = call.read(message)
                if rule.release is None:  # somebody stopped it
                    break
                if rule.status is PauseRuleStatus.RELEASING:
                    last = rule
                done = rule.release.released_steps
                bar.show(_progress(rule, rule.release), done, done + rule.paused_steps)
    except (KeyboardInterrupt, ReaderLeft):
        session.advise("the release goes on; this stops it", "stop-release", rule.rule_id)
        raise
    if not tell_end(session, last, rule):
        raise typer.Exit(_OTHERWISE)


def _progress(rule: PauseRule, release: PauseRuleRelease) -> str:
    more = "+" if rule.paused_steps_is_lower_bound else ""
    text = f"released {release.released_steps}, {rule.paused_steps}{more} left"
    if release.waiting_for_dispatchers:
        return f"{text}; waits for dispatchers"
    if release.expected_end_at is not None:
        text += f", until {render.until(release.expected_end_at, datetime.now(UTC))}"
    return text


@app.command("stop-release", epilog=example("stop-release pr-7k2m9x4q --reason 'it fails again'"))
@mutates
def stop_release(session: Session, rule_id: RuleId) -> None:
    """Have a releasing rule withhold again all that nobody has leased."""

    def show(answer: PauseRule) -> None:
        session.print(f"{answer.rule_id} is {answer.status}: it pauses {render.scope_of(answer)}")

    session.run(resuming.stop_release(rule_id, **session.mutation.fields), show)
