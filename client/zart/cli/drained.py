"""Waits, with a bar, until nothing that a pause rule withholds is in flight."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, timedelta
from typing import Any

import typer

from zart.calls import admin
from zart.calls.call import Call
from zart.cli import render
from zart.cli.bar import Bar
from zart.cli.screen import ReaderLeft
from zart.cli.session import Session
from zart.cli.watching import watched
from zart.errors import Unavailable, Unreachable
from zart.models import Paused, WatchedPauseRule, WatchUntil

_NEVER_DRAINED = 4  # what was waited for ended in another way
_RAN_OUT = 5
_TO_HEAR = 10.0  # seconds until it is told that a rule is drained of which nothing is in flight


def run_and_wait(
    session: Session, call: Call[Paused], show: Callable[[Paused], None], within: timedelta | None
) -> None:
    """Pause, and wait until the rule is drained; print the answer, for scripts as of then."""
    message: Any
    message, answer = session.send(call)
    if not session.is_json:
        show(answer)
    last, code = _wait_drained(session, answer.rule_id, answer.running_steps, within)
    if session.is_json:
        if last.HasField("rule"):
            message.rule.CopyFrom(last.rule)
        session.print_json(message)
    _end(session, last, code)


def _wait_drained(
    session: Session, rule_id: str, running: int, within: timedelta | None
) -> tuple[Any, int]:
    """Watch a rule until it is drained; return its last message, and the exit code.

    5 if it is not after ``within`` so long, 4 if it has ended before. Raises Unavailable or
    Unreachable where nobody can know by then, since no server answers. A wait of no time at all
    goes by ``running``, what was in flight when the rule was made.
    """
    call = admin.watch_pause_rule(rule_id, until=WatchUntil.DRAINED)
    message: Any = call.response_type()
    seconds = None if within is None else within.total_seconds()
    if seconds is not None and not running:
        seconds = max(seconds, _TO_HEAR)
    try:
        with Bar(session.err) as bar:
            total, has_told = running, False
            for message in watched(session, call, timeout=seconds, bar=bar):
                rule = call.read(message)
                total = max(total, rule.running_steps)
                bar.show(_in_flight(rule), total - rule.running_steps, total)
                if rule.silent_steps and not (has_told or session.err.is_terminal):
                    has_told = True
                    session.tell(_in_flight(rule))
    except TimeoutError as late:
        if seconds and not message.HasField("rule"):
            _tell_unknown(session, rule_id)
            raise Unreachable(f"no answer to the watch within {seconds:g} s") from late
        session.tell(f"{rule_id} stands, and is not drained after {within}")
        return message, _RAN_OUT
    except (Unavailable, Unreachable):
        _tell_unknown(session, rule_id)
        raise
    except (KeyboardInterrupt, ReaderLeft):
        session.advise(f"{rule_id} stands; this ends it", "resume", "--rule-id", rule_id)
        raise
    rule = call.read(message)
    if rule.drained_at is None:
        by = f" by {rule.deleted_by}" if rule.deleted_by else ""
        session.tell(f"{rule_id} is {rule.status}{by}: what was in flight may still be")
        return message, _NEVER_DRAINED
    return message, 0


def _tell_unknown(session: Session, rule_id: str) -> None:
    """Say what is known; who reads JSON is told by a Status."""
    session.tell(f"{rule_id} was made; whether it is drained is not known")


def _in_flight(rule: WatchedPauseRule) -> str:
    """Say what is in flight, and for how much of it nobody may be at work: whole at 80 columns."""
    text = f"in flight {rule.running_steps}"
    if rule.silent_steps:
        text += f"; {rule.silent_steps} may be dead: until "
        text += render.when(rule.silent_until).partition(" ")[2]
    return text


def _end(session: Session, message: Any, code: int) -> None:  # noqa: ANN401 - a proto
    """Say since when the rule is drained; exit with the code unless it is 0."""
    if not code and not session.is_json:
        session.print(f"drained   {render.when(message.rule.drained_at.ToDatetime(UTC))}")
    if code:
        raise typer.Exit(code)
