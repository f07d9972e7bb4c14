"""The calls of AdminService that end pause rules: at once, at a pace, or not after all."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from zart.calls.call import Call, plan_reader
from zart.decoding import decode
from zart.models import PauseRule, Resumed, StoppedRelease
from zart.v1 import admin_service_pb2 as pb
from zart.v1.pause_rule_pb2 import PauseRule as PauseRuleMessage

_METHODS = pb.DESCRIPTOR.services_by_name["AdminService"].methods_by_name


def resume(
    *,
    rule_id: str | None = None,
    execution_id: str | None = None,
    task_name: str | None = None,
    step_pattern: str | None = None,
    everything: bool = False,
    canary: int | None = None,
    rate_per_second: float | None = None,
    validate_only: bool = False,
    plan_token: str = "",
    triggered_by: str = "",
    reason: str = "",
    incident: str = "",
    request_id: str = "",
) -> Call[Resumed]:
    """Delete one pause rule, those whose own fields equal all given, or everything.

    With a pace it is of exactly one rule: ``canary`` lets its oldest so many steps go, and it stays
    ACTIVE; with ``rate_per_second`` it is RELEASING until it withholds no step.
    ``validate_only`` plans and changes nothing; the plan's ``plan_token`` given to a second call
    makes sure that it does just that. Raises PauseRuleNotFound, PlanChanged, NotPlanned; with a
    pace RuleNotActive, RulesAmbiguous, RuleReleasing and NothingPaused; and ValueError where
    nothing at all is given, or both paces.
    """
    if canary is not None and rate_per_second is not None:
        raise ValueError("give canary or rate_per_second, not both")
    given = (rule_id, execution_id, task_name, step_pattern)
    if not everything and all(value is None for value in given):
        raise ValueError("resume() alone would resume everything: say everything=True")
    request = pb.ResumeRequest(
        rule_id=rule_id,
        execution_id=execution_id,
        task_name=task_name,
        step_pattern=step_pattern,
        everything=everything,
        validate_only=validate_only,
        plan_token=plan_token,
        triggered_by=triggered_by,
        reason=reason,
        incident=incident,
        request_id=request_id,
    )
    if canary is not None:
        request.canary = canary
    if rate_per_second is not None:
        request.rate_per_second = rate_per_second
    return Call(_METHODS["Resume"], request, plan_reader(Resumed, request))


def stop_release(
    rule_id: str,
    *,
    triggered_by: str = "",
    reason: str = "",
    incident: str = "",
    request_id: str = "",
) -> Call[StoppedRelease]:
    """Have a releasing rule withhold again whatever it matches that nobody has leased.

    Raises PauseRuleNotFound, RuleNotActive and RuleNotReleasing.
    """
    request = pb.StopReleaseRequest(
        rule_id=rule_id,
        triggered_by=triggered_by,
        reason=reason,
        incident=incident,
        request_id=request_id,
    )
    return Call(_METHODS["StopRelease"], request, _stopped)


def _stopped(answer: pb.StopReleaseResponse) -> StoppedRelease:
    return StoppedRelease(**fields_of_rule(answer.rule), replayed=answer.replayed)


def fields_of_rule(rule: PauseRuleMessage) -> dict[str, Any]:
    """Return what a ``PauseRule`` is made of, for an answer that is one, and more."""
    decoded = decode(PauseRule, rule)
    return {field.name: getattr(decoded, field.name) for field in fields(PauseRule)}
