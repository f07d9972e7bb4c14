"""Domain to proto, field by field: the same names on both sides."""

from __future__ import annotations

from datetime import datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from zart.trace_context import trace_id_of
from zart.v1 import (
    execution_pb2,
    in_doubt_pb2,
    pause_rule_pb2,
    task_definition_pb2,
    warning_pb2,
)
from zart_server.domain import model
from zart_server.domain.if_in_doubt import IfInDoubt
from zart_server.domain.pacing import PauseRuleRelease
from zart_server.domain.pause_plans import PauseWarnings

RUN_STATUS = {s: execution_pb2.RunStatus.Value(f"RUN_STATUS_{s.name}") for s in model.RunStatus}
_TRIGGER = {t: execution_pb2.RunTrigger.Value(f"RUN_TRIGGER_{t.name}") for t in model.RunTrigger}
_RULE_STATUS = {
    s: pause_rule_pb2.PauseRuleStatus.Value(f"PAUSE_RULE_STATUS_{s.name}")
    for s in model.PauseRuleStatus
}
_IF_IN_DOUBT = {i: in_doubt_pb2.IfInDoubt.Value(f"IF_IN_DOUBT_{i.name}") for i in IfInDoubt}
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def timestamp(time: datetime | None) -> Timestamp | None:
    """Encode a time."""
    if time is None:
        return None
    since = time - _EPOCH
    return Timestamp(seconds=since.days * 86400 + since.seconds, nanos=since.microseconds * 1000)


def duration(span: timedelta | None) -> Duration | None:
    """Encode a span of time that is not negative."""
    if span is None:
        return None
    return Duration(seconds=span.days * 86400 + span.seconds, nanos=span.microseconds * 1000)


def execution(item: model.Execution) -> execution_pb2.Execution:
    """Encode an execution."""
    return execution_pb2.Execution(
        execution_id=item.execution_id,
        task_name=item.task_name,
        current_run_id=item.current_run_id,
        current_run_number=item.current_run_number,
        status=RUN_STATUS[item.status],
        created_at=timestamp(item.created_at),
        waiting_on=item.waiting_on,
        dead_steps=map(dead_step, item.dead_steps),
    )


def dead_step(item: model.DeadStep) -> execution_pb2.DeadStep:
    """Encode a dead step of an execution in a list."""
    return execution_pb2.DeadStep(step_name=item.step_name, error=step_error(item.error))


def run(item: model.Run) -> execution_pb2.Run:
    """Encode a run."""
    return execution_pb2.Run(
        run_id=item.run_id,
        execution_id=item.execution_id,
        run_number=item.run_number,
        status=RUN_STATUS[item.status],
        trigger=_TRIGGER[item.trigger],
        triggered_by=item.triggered_by,
        reason=item.reason,
        definition_version=item.definition_version,
        source_run_number=item.source_run_number,
        payload_json=item.payload_json,
        result_json=item.result_json,
        error=item.error,
        created_at=timestamp(item.created_at),
        started_at=timestamp(item.started_at),
        completed_at=timestamp(item.completed_at),
        principal=item.principal,
        trace_id=trace_id_of(item.traceparent),
    )


def step_error(item: model.StepError | None) -> execution_pb2.StepError | None:
    """Encode an error."""
    if item is None:
        return None
    return execution_pb2.StepError(type=item.type, message=item.message, details=item.details)


def fenced_step(item: model.FencedStep) -> execution_pb2.FencedStep:
    """Encode a step that was in flight."""
    return execution_pb2.FencedStep(
        step_name=item.step_name, attempt=item.attempt, dispatcher_id=item.dispatcher_id
    )


def no_such_execution(field: str, execution_id: str) -> warning_pb2.Warning:
    """Encode the warning that no execution has an id."""
    return warning_pb2.Warning(
        kind=warning_pb2.WARNING_KIND_MATCHES_NOTHING,
        message=f"no execution {execution_id!r}",
        field=field,
    )


def pause_warnings(found: PauseWarnings) -> list[warning_pb2.Warning]:
    """Encode what may not be meant by a scope."""
    warnings = [
        warning_pb2.Warning(
            kind=warning_pb2.WARNING_KIND_EQUAL_RULE,
            message=f"rule {rule.rule_id} has the same scope"
            + (f", by {rule.created_by}" if rule.created_by else "")
            + (f": {rule.reason}" if rule.reason else ""),
            rule_id=rule.rule_id,
        )
        for rule in found.equal
    ]
    if found.mistake is not None:
        mistake = warning_pb2.Warning(
            kind=warning_pb2.WARNING_KIND_MATCHES_NOTHING,
            message=found.mistake.message,
            field=found.mistake.field,
            nearest=found.mistake.nearest,
        )
        warnings.append(mistake)
    return warnings


def pause_rule(item: model.PauseRule) -> pause_rule_pb2.PauseRule:
    """Encode a pause rule."""
    return pause_rule_pb2.PauseRule(
        rule_id=item.rule_id,
        execution_id=item.scope.execution_id,
        task_name=item.scope.task_name,
        step_pattern=item.scope.step_pattern,
        everything=item.scope.everything,
        reason=item.reason,
        status=_RULE_STATUS[item.status],
        created_at=timestamp(item.created_at),
        created_by=item.created_by,
        expires_at=timestamp(item.expires_at),
        deleted_at=timestamp(item.deleted_at),
        deleted_by=item.deleted_by,
        principal=item.principal,
        deleted_by_principal=item.deleted_by_principal,
        exempt_execution_ids=item.exempt_execution_ids,
        paused_steps=item.counts.paused,
        paused_steps_is_lower_bound=item.counts.paused_is_lower_bound,
        running_steps=item.counts.running,
        drained_at=timestamp(item.drained_at),
        incident=item.incident,
        breaker_id=item.breaker_id,
        release=rule_release(item.release),
        release_on_expiry=None
        if item.expiry_rate is None
        else pause_rule_pb2.ReleaseOnExpiry(rate_per_second=item.expiry_rate),
    )


def rule_release(item: PauseRuleRelease | None) -> pause_rule_pb2.PauseRuleRelease | None:
    """Encode how a rule lets its steps go, where it does."""
    if item is None:
        return None
    return pause_rule_pb2.PauseRuleRelease(
        rate_per_second=item.rate_per_second,
        released_steps=item.released_steps,
        started_at=timestamp(item.started_at),
        expected_end_at=timestamp(item.expected_end_at),
        started_by=item.started_by,
        waiting_for_dispatchers=item.waiting_for_dispatchers,
    )


def task_definition(
    item: model.TaskDefinition, *, with_inputs: bool = True
) -> task_definition_pb2.TaskDefinition:
    """Encode a task definition."""
    return task_definition_pb2.TaskDefinition(
        task_name=item.task_name,
        version=item.version,
        steps=[step_spec(one, with_input=with_inputs) for one in item.steps],
        last_asked_at=timestamp(item.last_asked_at),
        created_at=timestamp(item.created_at),
    )


def step_spec(item: model.StepSpec, *, with_input: bool) -> task_definition_pb2.StepSpec:
    """Encode a step of a definition, its defaults filled in."""
    policy = item.retry_policy
    spec = task_definition_pb2.StepSpec(
        step_name=item.step_name,
        depends_on=item.depends_on,
        handler=item.handler,
        retry_policy=task_definition_pb2.RetryPolicy(
            max_attempts=policy.max_attempts,
            initial_backoff=duration(policy.initial_backoff),
            backoff_multiplier=policy.backoff_multiplier,
            max_backoff=duration(policy.max_backoff),
        ),
        timeout=duration(item.timeout),
        if_in_doubt=_IF_IN_DOUBT[item.if_in_doubt],
    )
    if with_input and item.input_json is not None:
        spec.input_json = item.input_json
    return spec
