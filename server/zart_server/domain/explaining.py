"""Says why a step is not completed: every cause that holds, first what to do about first."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from zart_server.domain.causes import Cause, CauseKind, ExplainedStep
from zart_server.domain.known_step import (
    Ahead,
    Holding,
    KnownBreaker,
    KnownDoubt,
    KnownRun,
    KnownStep,
)
from zart_server.domain.model import RunStatus, StepError, StepStatus
from zart_server.domain.next_step import next_of
from zart_server.domain.waiting import (
    letting_go,
    moment,
    waiting_for_rule,
    waiting_for_steps,
)

_ERROR_CHARACTERS = 500


def explain(run: KnownRun, step: KnownStep, most: int) -> ExplainedStep:
    """Explain a step, with at most so many names of others in a cause."""
    causes = tuple(_causes(run, step, most))
    return ExplainedStep(step.step_name, step.status, causes, next_of(run, step, causes))


def _causes(run: KnownRun, step: KnownStep, most: int) -> Iterator[Cause]:
    if step.status is StepStatus.COMPLETED:
        return
    if step.doubt is not None and not step.doubt.happened:
        yield _in_doubt(step.doubt)
    if step.status is StepStatus.CANCELLED or run.is_over:
        yield _run_ended(run)
    if step.status is StepStatus.DEAD:
        yield _dead(step)
    elif step.status is StepStatus.RUNNING:
        yield _running(step)
    elif step.status is StepStatus.PENDING:
        yield from _pending(run, step, most)
    yield from _rules(run, step)
    if step.status in (StepStatus.SCHEDULED, StepStatus.PAUSED):
        yield from _ready(run, step)


def _in_doubt(doubt: KnownDoubt) -> Cause:
    text = f"attempt {doubt.attempt} ended {doubt.ended_as.name}, and may have had its effect"
    if doubt.late_status is not None:
        text += f"; its dispatcher told later that it is {doubt.late_status.name}"
    return Cause(CauseKind.IN_DOUBT, text, doubt.ended_at)


def _run_ended(run: KnownRun) -> Cause:
    if run.is_current:
        text = f"run {run.run_number} ended {run.status.name}"
        text += f": {run.error}" if run.error else ""
    else:
        text = f"run {run.run_number} is not the current one: that is {run.current_run_number}"
    return Cause(CauseKind.RUN_ENDED, text, run.ended_at)


def _dead(step: KnownStep) -> Cause:
    text = f"dead after attempt {step.attempt}"
    text += f": {_line_of(step.error)}" if step.error else ""
    if step.doubt is not None and step.doubt.happened:
        of_run = "" if step.doubt.run_number is None else f" of run {step.doubt.run_number}"
        text += f"; attempt {step.doubt.attempt}{of_run} was found to have happened"
    return Cause(CauseKind.DEAD, text, step.ended_at)


def _line_of(error: StepError) -> str:
    line = f"{error.type}: {error.message}" if error.type else error.message
    return line if len(line) <= _ERROR_CHARACTERS else f"{line[:_ERROR_CHARACTERS]} …"


def _running(step: KnownStep) -> Cause:
    text = f"{step.dispatcher_id} is at work on {_attempt(step)}"
    return Cause(
        CauseKind.RUNNING,
        text,
        step.started_at,
        step.lease_expires_at,
        dispatcher_id=step.dispatcher_id,
    )


def _pending(run: KnownRun, step: KnownStep, most: int) -> Iterator[Cause]:
    if step.dead:
        verb = "which is dead" if len(step.dead) == 1 else "which are dead"
        text = f"depends on {waiting_for_steps(step.dead)}, {verb}"
        yield Cause(CauseKind.DEAD_DEPENDENCY, text, step_names=step.dead[:most])
    if run.status is RunStatus.FAILED and not run.is_over:
        yield _run_ended(run)
    if step.waits_for:
        text = f"waits for {waiting_for_steps(step.waits_for)}"
        yield Cause(CauseKind.DEPENDENCIES, text, step_names=step.waits_for[:most])


def _rules(run: KnownRun, step: KnownStep) -> Iterator[Cause]:
    holding = [each for each in step.holding if each.rule.rate_per_second is None]
    for each in holding:
        yield _pause_rule(step, each)
    releasing = sorted(
        (each for each in step.holding if each.rule.rate_per_second is not None),
        key=lambda each: each.rule.turn,
    )
    for each in releasing[:1]:
        yield _release(run, step, each, is_alone=not holding)
    for each in releasing[1:]:
        yield _faster_release(step, each, releasing[0])


def _pause_rule(step: KnownStep, holding: Holding) -> Cause:
    rule = holding.rule
    verb = "withholds it" if step.status is StepStatus.PAUSED else "will withhold it"
    text = f"{waiting_for_rule(rule.rule_id, rule.created_by, rule.reason)} {verb}"
    if rule.breaker is not None:
        text += f"; {_state_of(rule.breaker)}"
    if rule.lets_go is not None:
        text += f"; it {letting_go(*rule.lets_go)}"
    return Cause(CauseKind.PAUSE_RULE, text, rule.created_at, rule.ends_at, rule_id=rule.rule_id)


def _state_of(breaker: KnownBreaker) -> str:
    if breaker.is_trying:
        return f"breaker {breaker.breaker_id} is HALF_OPEN: it lets steps try"
    if breaker.tries_at is None:
        return f"breaker {breaker.breaker_id} is OPEN until it is reset"
    return f"breaker {breaker.breaker_id} is OPEN until {moment(breaker.tries_at)}"


def _release(run: KnownRun, step: KnownStep, holding: Holding, *, is_alone: bool) -> Cause:
    rule, ahead = holding.rule, holding.ahead or Ahead(0, is_least=False)
    rate = rule.rate_per_second or 0.0
    text = f"pause rule {rule.rule_id} lets {rate:g} steps a second go: "
    if step.status is StepStatus.PAUSED:
        text += f"{_counted(ahead)} before it"
    else:
        text += f"it will stand behind {_counted(ahead)}"
    if rule.is_waiting:
        text += "; it waits for dispatchers to take what it let go"
    until = None
    if step.status is StepStatus.PAUSED and is_alone and not ahead.is_least and not rule.is_waiting:
        due = max(run.now, step.not_before or run.now)
        until = max(due, run.now + _span((ahead.count + 1) / rate)) if rate else None
    return Cause(
        CauseKind.RELEASE_QUEUE,
        text,
        step.ready_at if step.status is StepStatus.PAUSED else None,
        until,
        rule_id=rule.rule_id,
        ahead=ahead.count,
    )


def _faster_release(step: KnownStep, holding: Holding, slowest: Holding) -> Cause:
    """Tell of a release that goes by another one's pace: the step's turn is in that one's line."""
    rule, other = holding.rule, slowest.rule
    is_slower = other.rate_per_second != rule.rate_per_second
    which = "which is slower" if is_slower else "which is as fast, and older"
    return Cause(
        CauseKind.RELEASE_QUEUE,
        f"pause rule {rule.rule_id} lets {rule.rate_per_second:g} steps a second go:"
        f" {other.rule_id}, {which}, decides",
        step.ready_at if step.status is StepStatus.PAUSED else None,
        rule_id=rule.rule_id,
    )


def _span(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


def _counted(ahead: Ahead) -> str:
    return f"at least {ahead.count}" if ahead.is_least else str(ahead.count)


def _ready(run: KnownRun, step: KnownStep) -> Iterator[Cause]:
    not_before = step.not_before or run.now
    if run.last_asked_at is None:
        text = f"no dispatcher has ever asked for {run.task_name}"
        yield Cause(CauseKind.NO_DISPATCHER, text, step.ready_at)
    elif run.is_asked_no_more and not run.at_work:
        text = f"no dispatcher asks for {run.task_name} any more"
        yield Cause(CauseKind.NO_DISPATCHER, text, run.last_asked_at)
    if not_before > run.now:
        yield Cause(CauseKind.BACKOFF, _backoff(step), step.ready_at, not_before)
    elif step.status is StepStatus.SCHEDULED:
        yield _queued(run, step, not_before)


def _backoff(step: KnownStep) -> str:
    # Whether the last one failed or was given back, nobody has to know to tell the truth.
    is_plain = step.attempt == step.counted + 1
    return f"{'backoff' if is_plain else 'not due'} before {_attempt(step)}"


def _attempt(step: KnownStep) -> str:
    if step.attempt == step.counted + 1:
        return f"attempt {step.attempt} of {step.max_attempts}"
    used = f"{step.counted} of {step.max_attempts} used up"
    return f"attempt {step.attempt}, with {used}: what was given back does not count"


def _queued(run: KnownRun, step: KnownStep, not_before: datetime) -> Cause:
    ahead = step.ahead
    if ahead is None:
        text = "no pause rule withholds it any more: it is about to be queued"
    elif ahead.count:
        text = f"{_counted(ahead)} due before it for handler {step.handler}"
    else:
        text = f"the first in line for handler {step.handler}"
        text += "" if run.at_work else ", as soon as a slot is free"
    if ahead is not None and run.at_work and run.last_asked_at is not None:
        # Whether all of their slots are taken, or they stop or are gone by now, nobody knows.
        steps = "1 step" if run.at_work == 1 else f"{run.at_work} steps"
        text += f": its dispatchers are at work on {steps}, and none has asked for more since"
        text += f" {moment(run.last_asked_at)}"
    since = max(not_before, step.ready_at or not_before)
    return Cause(CauseKind.QUEUED_BEHIND, text, since, ahead=0 if ahead is None else ahead.count)
