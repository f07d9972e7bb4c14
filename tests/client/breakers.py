"""A breaker with long words, as a server answers it."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from zart.v1 import breaker_pb2 as breaker
from zart.v1 import breaker_service_pb2 as service
from zart.v1 import execution_pb2 as states

AT = Timestamp(seconds=1_700_000_000)
PEOPLE = "firstname.lastname@a-workstation"
_BREAKER = breaker.Breaker(
    breaker_id="br-abcd1234",
    task_name="monthly-order",
    step_pattern="charge-*",
    failure_threshold=20,
    window=Duration(seconds=60),
    min_failure_ratio=0.5,
    error_group_id="eg-1abcdefg",
    status=breaker.BREAKER_STATUS_OPEN,
    opened_at=AT,
    rule_id="pr-abcd1234",
    trip_count=3,
    last_error=states.StepError(
        type="CardServiceUnavailable",
        message="the card service answered 503 for the third time within one single minute",
    ),
    reason="the card service is known to fail at night",
    created_by=PEOPLE,
    principal="payments-team",
    created_at=AT,
)
BREAKERS: dict[str, Message] = {
    "ListBreakers": service.ListBreakersResponse(breakers=[_BREAKER] * 2),
    "GetBreaker": service.GetBreakerResponse(breaker=_BREAKER),
}
