"""Which pause rules held the steps of a run, from when to when: computed from what is kept.

A step waits from the moment that nothing it depends on is missing, or that an attempt ended, until
its next attempt begins. A rule that matches it, and does not exempt its execution, held it for that
part of the time during which the rule stood, up to the moment when it let that attempt go; and from
when it took that back on, if nobody had leased it by then. Which of thousands of rules held ten
thousand steps is found out without comparing each with each: ``domain/newest_holds.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from zart_server.domain.model import PauseRule, Run, Step, StepStatus

Span = tuple[datetime, datetime | None]  # None: it goes on


class RuleHold(NamedTuple):
    """One step, held by one rule. ``until`` None: it still is."""

    rule: PauseRule
    run_number: int
    step_name: str
    since: datetime
    until: datetime | None


class Wait(NamedTuple):
    """A step that waits for its next ``attempt``. ``until`` None: it still does."""

    step_name: str
    attempt: int
    since: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True)
class OnRecord:
    """What else the record has of a run.

    ``retried``: when each step was retried, or completed by hand while it was DEAD. ``exempted``:
    when each rule (by its id) began and ceased to exempt the execution.
    ``let_go``: when a rule let the attempt of a step go, the last time. ``taken_back``: when each
    rule took back what nobody had leased of that. ``born_exempt``: rules that may have exempted it
    since they stand, as those of a breaker do whose rule before did.
    """

    retried: Mapping[str, Sequence[datetime]] = field(default_factory=dict)
    exempted: Mapping[str, Sequence[tuple[datetime, bool]]] = field(default_factory=dict)
    let_go: Mapping[tuple[str, str, int], datetime] = field(default_factory=dict)
    taken_back: Mapping[str, Sequence[datetime]] = field(default_factory=dict)
    born_exempt: frozenset[str] = frozenset()


def waits_of(run: Run, steps: Sequence[Step], record: OnRecord) -> Iterator[Wait]:
    """Yield when steps of a run waited, backoff included.

    Of a step that ``lacks_attempts``, only since the first one that is told.
    """
    by_name = {step.step_name: step for step in steps}
    for step in steps:
        since = _ready_at(run, [by_name[name] for name in step.depends_on])
        if since is None or step.preserved_from_run_number is not None:
            continue
        retried = record.retried.get(step.step_name, ())
        number = 0
        ended: datetime | None = None if lacks_attempts(step) else since
        for attempt in sorted(step.attempts, key=lambda each: each.attempt):
            if ended is not None:
                begun = max([since, ended, *(at for at in retried if at <= attempt.started_at)])
                yield Wait(step.step_name, attempt.attempt, begun, attempt.started_at)
            number, ended = attempt.attempt, attempt.completed_at
        if ended is not None and step.status in _WAITING:
            begun = max([since, ended, *retried])
            until = run.completed_at if step.status is StepStatus.CANCELLED else None
            yield Wait(step.step_name, number + 1, begun, until)


def lacks_attempts(step: Step) -> bool:
    """Return whether the first attempts of a step are left out, as it has had so many."""
    return bool(step.attempts) and min(attempt.attempt for attempt in step.attempts) > 1


_WAITING = (StepStatus.SCHEDULED, StepStatus.PAUSED, StepStatus.CANCELLED)


def _ready_at(run: Run, dependencies: Sequence[Step]) -> datetime | None:
    """Return when nothing was missing any more; None if something is."""
    times = [run.created_at]
    for dependency in dependencies:
        if dependency.status is not StepStatus.COMPLETED or dependency.completed_at is None:
            return None
        times.append(dependency.completed_at)
    return max(times)


def held_while(span: Span, rule_id: str, wait: Wait, record: OnRecord) -> Iterator[Span]:
    """Yield when a rule that matches a step held it while it waited, of a span of the rule's."""
    held = max(span[0], wait.since), _first(span[1], wait.until)
    for since, until in _but_while_let_go(held, rule_id, wait, record):
        if until is None or since < until:
            yield since, until


def _but_while_let_go(held: Span, rule_id: str, wait: Wait, record: OnRecord) -> Iterator[Span]:
    """Yield the parts of a span in which a rule had not let the attempt go; they may be empty."""
    gone = record.let_go.get((rule_id, wait.step_name, wait.attempt))
    since, until = held
    yield since, _first(until, gone)
    if gone is not None:
        back = min((at for at in record.taken_back.get(rule_id, ()) if at > gone), default=None)
        if back is not None:
            yield max(since, back), until


def stood(rule: PauseRule, record: OnRecord) -> Iterator[Span]:
    """Yield when a rule stood and did not exempt the execution, one after the other."""
    exempted = sorted(record.exempted.get(rule.rule_id, ()))
    since: datetime | None = rule.created_at
    # Where it began to exempt it later, before anything was leased, that is on record.
    if rule.rule_id in record.born_exempt and not (exempted and exempted[0][1]):
        since = None
    for at, is_exempt in exempted:
        if is_exempt and since is not None:
            yield since, at
            since = None
        elif not is_exempt and since is None:
            since = at
    if since is not None:
        yield since, rule.deleted_at


def _first(one: datetime | None, other: datetime | None) -> datetime | None:
    """Return the earlier of two times, of which each may be never."""
    return min((at for at in (one, other) if at is not None), default=None)
