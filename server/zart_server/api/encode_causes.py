"""Why steps are not completed, as protos."""

from __future__ import annotations

from zart.v1 import execution_pb2, explain_pb2
from zart_server.api.encode import timestamp
from zart_server.domain import causes

_KIND = {k: explain_pb2.CauseKind.Value(f"CAUSE_KIND_{k.name}") for k in causes.CauseKind}


def explained_step(item: causes.ExplainedStep) -> explain_pb2.ExplainedStep:
    """Encode a step with its causes."""
    return explain_pb2.ExplainedStep(
        step_name=item.step_name,
        status=execution_pb2.StepStatus.Value(f"STEP_STATUS_{item.status.name}"),
        causes=map(_cause, item.causes),
        next=item.next.sentence,
        next_command=item.next.command,
    )


def _cause(item: causes.Cause) -> explain_pb2.Cause:
    return explain_pb2.Cause(
        kind=_KIND[item.kind],
        text=item.text,
        since=timestamp(item.since),
        until=timestamp(item.until),
        rule_id=item.rule_id,
        step_names=item.step_names,
        dispatcher_id=item.dispatcher_id,
        ahead=item.ahead,
    )
