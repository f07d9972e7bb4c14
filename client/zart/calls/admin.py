"""The calls of AdminService about pause rules."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from zart.calls.call import Call, ListCall, moment, page_reader, plan_reader, reader, span
from zart.calls.choices import number_of
from zart.calls.resuming import fields_of_rule
from zart.calls.several import several
from zart.decoding import decode
from zart.models import (
    Paused,
    PauseRule,
    UpdatedPauseRule,
    WatchedPauseRule,
    WatchUntil,
)
from zart.receipts import PauseReceipt
from zart.v1 import admin_service_pb2 as pb
from zart.v1.pause_rule_pb2 import ReleaseOnExpiry

_VERIFYING = 600.0  # seconds; it reads some hundred million steps in that time
_METHODS = pb.DESCRIPTOR.services_by_name["AdminService"].methods_by_name


def pause(
    *,
    execution_id: str | None = None,
    task_name: str | None = None,
    step_pattern: str | None = None,
    everything: bool = False,
    expires_at: datetime | None = None,
    expires_in: float | timedelta | None = None,
    release_on_expiry: float | None = None,
    must_match: bool = False,
    validate_only: bool = False,
    plan_token: str = "",
    triggered_by: str = "",
    reason: str = "",
    incident: str = "",
    request_id: str = "",
) -> Call[Paused]:
    """Withhold the steps that match every scope field given, until resume or expiry.

    ``expires_in`` is in seconds or a timedelta; ``release_on_expiry`` are the steps a second that
    it releases from then on. ``must_match`` refuses a scope of which nothing is there.
    ``validate_only`` tells what would be withheld and changes nothing; the plan's
    ``plan_token`` given to a second call makes sure that it does just that. Raises
    ScopeMatchesNothing, PlanChanged, NotPlanned, InvalidField, and ValueError for both
    ``expires_at`` and ``expires_in``.
    """
    if expires_at is not None and expires_in is not None:
        raise ValueError("give expires_at or expires_in, not both")
    request = pb.PauseRequest(
        execution_id=execution_id,
        task_name=task_name,
        step_pattern=step_pattern,
        everything=everything,
        expires_at=moment(expires_at, "expires_at"),
        expires_in=None if expires_in is None else span(expires_in, "expires_in"),
        release_on_expiry=None
        if release_on_expiry is None
        else ReleaseOnExpiry(rate_per_second=release_on_expiry),
        must_match=must_match,
        validate_only=validate_only,
        plan_token=plan_token,
        triggered_by=triggered_by,
        reason=reason,
        incident=incident,
        request_id=request_id,
    )
    return Call(_METHODS["Pause"], request, plan_reader(Paused, request))


def update_pause_rule(
    rule_id: str,
    *,
    exempt: Iterable[str] = (),
    unexempt: Iterable[str] = (),
    expires_at: datetime | None = None,
    expires_in: float | timedelta | None = None,
    never_expires: bool = False,
    validate_only: bool = False,
    plan_token: str = "",
    triggered_by: str = "",
    reason: str = "",
    incident: str = "",
    request_id: str = "",
) -> Call[UpdatedPauseRule]:
    """Exempt executions from a pause rule, match them again, and set when it ends.

    ``expires_in`` is in seconds or a timedelta, from now on. Raises PauseRuleNotFound,
    RuleNotActive, RuleReleasing for an end of a rule that is releasing, PlanChanged, NotPlanned,
    TooManyItems, InvalidField, and ValueError for more than one way to end.
    """
    if sum((expires_at is not None, expires_in is not None, never_expires)) > 1:
        raise ValueError("give one of expires_at, expires_in and never_expires")
    request = pb.UpdatePauseRuleRequest(
        rule_id=rule_id,
        add_exempt_execution_ids=several(exempt),
        remove_exempt_execution_ids=several(unexempt),
        expires_at=moment(expires_at, "expires_at"),
        expires_in=None if expires_in is None else span(expires_in, "expires_in"),
        validate_only=validate_only,
        plan_token=plan_token,
        triggered_by=triggered_by,
        reason=reason,
        incident=incident,
        request_id=request_id,
    )
    if never_expires:
        request.never_expires = True
    return Call(_METHODS["UpdatePauseRule"], request, plan_reader(UpdatedPauseRule, request))


def get_pause_rule(rule_id: str) -> Call[PauseRule]:
    """Read a pause rule, deleted or not, with its counts and all executions that it exempts.

    Raises PauseRuleNotFound.
    """
    request = pb.GetPauseRuleRequest(rule_id=rule_id)
    return Call(_METHODS["GetPauseRule"], request, lambda answer: decode(PauseRule, answer.rule))


def verify_pause_rule(rule_id: str) -> Call[PauseReceipt]:
    """Return the receipt of a rule: what was leased while it stood, or has stood so far.

    It may take as long as reading all steps of the runs that lived meanwhile. Raises
    PauseRuleNotFound.
    """
    request = pb.VerifyPauseRuleRequest(rule_id=rule_id)
    return Call(_METHODS["VerifyPauseRule"], request, reader(PauseReceipt), _VERIFYING)


def list_pause_rules(
    *,
    execution_id: str | None = None,
    task_name: str | None = None,
    step_pattern: str | None = None,
    include_deleted: bool = False,
    page_size: int = 0,
    page_token: str = "",
) -> ListCall[PauseRule]:
    """List pause rules, newest first; with scope fields, those whose own fields equal them."""
    request = pb.ListPauseRulesRequest(
        execution_id=execution_id,
        task_name=task_name,
        step_pattern=step_pattern,
        include_deleted=include_deleted,
        page_size=page_size,
        page_token=page_token,
    )
    return ListCall(_METHODS["ListPauseRules"], request, page_reader(PauseRule, "rules"))


def watch_pause_rule(
    rule_id: str, *, until: WatchUntil | str = WatchUntil.ENDED
) -> Call[WatchedPauseRule]:
    """Watch a pause rule: as it is, then whenever it or a count changes, until it is so.

    With ``until`` DRAINED until nothing that it withholds is in flight, or it has ended. Raises
    PauseRuleNotFound.
    """
    wanted = number_of(pb.WatchUntil, until, "until")
    request = pb.WatchPauseRuleRequest(rule_id=rule_id, until=wanted)
    return Call(_METHODS["WatchPauseRule"], request, _watched)


def _watched(message: pb.WatchPauseRuleResponse) -> WatchedPauseRule:
    return WatchedPauseRule(
        **fields_of_rule(message.rule),
        silent_steps=message.silent_steps,
        silent_until=message.silent_until.ToDatetime(tzinfo=UTC)
        if message.HasField("silent_until")
        else None,
    )
