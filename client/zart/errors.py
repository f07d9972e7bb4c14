"""What a call can be refused with: one class per reason of the contract.

::

    ZartError
    ├── Unreachable             no server answered, or not in time: the outcome is unknown
    ├── RunFailed               the run waited for ended FAILED or CANCELLED
    ├── StepSkipped             a handler asks for the result of a step that was skipped
    ├── PauseViolated           a receipt lists what was leased though a pause rule withheld it
    ├── NotPlanned              asked for a plan, an older server may have done it
    └── Refused                 the server said no, and why
        ├── InvalidField
        │   └── UnknownField    FilterTooBroad
        ├── NotFound
        │   ├── ExecutionNotFound   RunNotFound   StepNotFound
        │   └── PauseRuleNotFound   TaskDefinitionNotFound   BreakerNotFound
        │       AttemptNotFound     BatchNotFound
        ├── ExecutionExists     RequestIdReused
        ├── StepNotDead         RunNotCurrent   RunActive   RunFinished   NothingToRerun
        ├── StepFinished        StepRunning     StepChanged
        ├── RuleNotActive       StepInDoubt     NotInDoubt
        ├── ScopeMatchesNothing     NothingSelected   BatchFinished
        ├── RunChanged          PlanChanged     StoreConflict
        ├── PayloadTooLarge     TooManyItems
        ├── MissingCredentials  InvalidCredentials   RoleRequired
        ├── Unavailable
        │   └── OperationTimeout   StoreUnavailable   ShuttingDown   ServerBusy
        │       KeysUnavailable
        ├── UnknownMethod
        └── InternalError

After ``Unreachable`` and ``Unavailable`` a mutation may have happened: repeating it with the same
``request_id`` tells which, and does it once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

import grpc
from google.rpc import status_pb2

from zart import status_details

if TYPE_CHECKING:
    from zart.models import RuleAttempt, Run


class ZartError(Exception):
    """Something that zart was asked for did not work out."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Unreachable(ZartError):
    """No server answered, or not in time; what was asked may have happened all the same."""


class StepSkipped(ZartError, LookupError):
    """An operator skipped the step whose result a handler asks for."""

    def __init__(self, step_name: str) -> None:
        super().__init__(
            f"{step_name!r} was skipped by an operator and has no result: give a default,"
            " or ask ctx.skipped before"
        )
        self.step_name = step_name


class RunFailed(ZartError):
    """The run that was waited for ended FAILED or CANCELLED; ``run`` says more."""

    def __init__(self, run: Run) -> None:
        super().__init__(f"{run.run_id} ended {run.status}: {run.error or 'no error was recorded'}")
        self.run = run


class PauseViolated(ZartError):
    """Attempts were leased although a pause rule withheld them; ``attempts`` are the first."""

    def __init__(self, attempts: Sequence[RuleAttempt], *, is_lower_bound: bool) -> None:
        first = attempts[0]
        more = " or more" if is_lower_bound else ""
        super().__init__(
            f"{len(attempts)}{more} attempts were leased that the rule withheld, first of all"
            f" attempt {first.attempt} of {first.execution_id}:run:{first.run_number}"
            f"/{first.step_name}, by {first.dispatcher_id}"
        )
        self.attempts = tuple(attempts)


class NotPlanned(ZartError):
    """A plan was asked for, and the server's answer does not say that it is one.

    A server that does not know plans does what it is asked for. ``answer`` is what it answered.
    """

    def __init__(self, answer: object) -> None:
        super().__init__(
            "the server did not say that it only planned: it is older than its caller, and may have"
            " done what it was asked for; look before you repeat it"
        )
        self.answer = answer


class Refused(ZartError):
    """The server refused the call.

    ``reason`` is the ErrorInfo reason, ``code`` the gRPC status code, ``metadata`` the values
    that the message names, ``fields`` what is wrong with which field of the request,
    ``retry_after`` when to repeat (None where the server did not say), ``status`` all of it.
    """

    reason: ClassVar[str] = ""

    def __init__(self, status: status_pb2.Status) -> None:
        super().__init__(status.message)
        self.status = status
        self.code = status_details.code_of(status)
        self.metadata: Mapping[str, str] = status_details.metadata_of(status)
        self.fields: Mapping[str, str] = status_details.fields_of(status)
        self.retry_after: timedelta | None = status_details.retry_after_of(status)

    def __reduce__(self) -> tuple[type[Refused], tuple[status_pb2.Status]]:
        """Tell how it is copied, and taken to another process: it is made of its status."""
        return type(self), (self.status,)


class InvalidField(Refused):
    """A field of the request cannot be right."""

    reason = "INVALID_FIELD"


class UnknownField(InvalidField):
    """The server is older than this client and does not know a field: nothing was done."""

    reason = "UNKNOWN_FIELD"


class FilterTooBroad(InvalidField):
    """No index finds what a filter matches; ``fields`` names the field to add."""

    reason = "FILTER_TOO_BROAD"


class NotFound(Refused):
    """Something that the request names is not there."""


class ExecutionNotFound(NotFound):
    """No execution has this id."""

    reason = "EXECUTION_NOT_FOUND"


class RunNotFound(NotFound):
    """The execution has no run of this number."""

    reason = "RUN_NOT_FOUND"


class StepNotFound(NotFound):
    """The run has no step of this name."""

    reason = "STEP_NOT_FOUND"


class AttemptNotFound(NotFound):
    """The step has no attempt of this number."""

    reason = "ATTEMPT_NOT_FOUND"


class PauseRuleNotFound(NotFound):
    """No pause rule has this id."""

    reason = "PAUSE_RULE_NOT_FOUND"


class BreakerNotFound(NotFound):
    """No breaker has this id."""

    reason = "BREAKER_NOT_FOUND"


class ErrorGroupNotFound(NotFound):
    """No error of this group was ever seen."""

    reason = "ERROR_GROUP_NOT_FOUND"


class BatchNotFound(NotFound):
    """No batch has this id."""

    reason = "BATCH_NOT_FOUND"


class BatchFinished(Refused):
    """The batch is over."""

    reason = "BATCH_FINISHED"


class NothingSelected(Refused):
    """What a batch is to be of is nothing."""

    reason = "NOTHING_SELECTED"


class RuleReleasing(Refused):
    """The pause rule is letting its steps go."""

    reason = "RULE_RELEASING"


class RuleNotReleasing(Refused):
    """The pause rule is not letting its steps go."""

    reason = "RULE_NOT_RELEASING"


class NothingPaused(Refused):
    """The pause rule withholds no step that it could let go."""

    reason = "NOTHING_PAUSED"


class RulesAmbiguous(Refused):
    """A pace is of exactly one rule; more are meant, or none."""

    reason = "RULES_AMBIGUOUS"


class TaskDefinitionNotFound(NotFound):
    """No definition is registered for this task, or not this version."""

    reason = "TASK_DEFINITION_NOT_FOUND"


class ExecutionExists(Refused):
    """The execution id is taken."""

    reason = "EXECUTION_EXISTS"


class RequestIdReused(Refused):
    """The request_id was used for a different request."""

    reason = "REQUEST_ID_REUSED"


class StepNotDead(Refused):
    """Only a dead step can be retried."""

    reason = "STEP_NOT_DEAD"


class NotInDoubt(Refused):
    """The attempt is not in doubt, or no longer."""

    reason = "NOT_IN_DOUBT"


class StepInDoubt(Refused):
    """A step would be run again although an attempt of it may have had its effect, or has."""

    reason = "STEP_IN_DOUBT"


class StepFinished(Refused):
    """The step has ended already: it cannot be ended by hand."""

    reason = "STEP_FINISHED"


class StepRunning(Refused):
    """The step is in flight, and the call did not ask to fence it."""

    reason = "STEP_RUNNING"


class StepChanged(Refused):
    """The last attempt of the step is not the one that was expected."""

    reason = "STEP_CHANGED"


class RunNotCurrent(Refused):
    """The run named was superseded."""

    reason = "RUN_NOT_CURRENT"


class RunActive(Refused):
    """The current run is unfinished and the call asked to refuse then."""

    reason = "RUN_ACTIVE"


class RunFinished(Refused):
    """The run is finished."""

    reason = "RUN_FINISHED"


class NothingToRerun(Refused):
    """Every step would be preserved."""

    reason = "NOTHING_TO_RERUN"


class RuleNotActive(Refused):
    """The pause rule was resumed or has expired."""

    reason = "RULE_NOT_ACTIVE"


class ScopeMatchesNothing(Refused):
    """No definition and no unfinished execution has what the scope names."""

    reason = "SCOPE_MATCHES_NOTHING"


class RunChanged(Refused):
    """The current run is not the one that was expected."""

    reason = "RUN_CHANGED"


class PlanChanged(Refused):
    """The plan is not the one that plan_token was given for."""

    reason = "PLAN_CHANGED"


class StoreConflict(Refused):
    """Concurrent changes got in the way; repeat the call."""

    reason = "STORE_CONFLICT"


class PayloadTooLarge(Refused):
    """A payload, result, input or message is too large."""

    reason = "PAYLOAD_TOO_LARGE"


class TooManyItems(Refused):
    """More items than one call may carry."""

    reason = "TOO_MANY_ITEMS"


class MissingCredentials(Refused):
    """No credentials were sent."""

    reason = "MISSING_CREDENTIALS"


class InvalidCredentials(Refused):
    """The credentials do not hold."""

    reason = "INVALID_CREDENTIALS"


class RoleRequired(Refused):
    """The caller lacks the role."""

    reason = "ROLE_REQUIRED"


class Unavailable(Refused):
    """The server could not finish; whether it had happened is told by a repeat."""


class OperationTimeout(Unavailable):
    """The operation took too long in the server."""

    reason = "OPERATION_TIMEOUT"


class StoreUnavailable(Unavailable):
    """The server's database cannot serve now."""

    reason = "STORE_UNAVAILABLE"


class ShuttingDown(Unavailable):
    """This server is stopping; another one serves."""

    reason = "SHUTTING_DOWN"


class ServerBusy(Unavailable):
    """The server has as many calls as it takes; it did nothing."""

    reason = "SERVER_BUSY"


class KeysUnavailable(Unavailable):
    """The server has no keys yet to verify tokens by; it did nothing."""

    reason = "KEYS_UNAVAILABLE"


class UnknownMethod(Refused):
    """The server has no such method: it is older than this client."""

    reason = "UNKNOWN_METHOD"


class InternalError(Refused):
    """A defect of the server; ``metadata["error_id"]`` is to be looked up in its log."""

    reason = "INTERNAL"


def _leaves(kind: type[Refused]) -> dict[str, type[Refused]]:
    found = {kind.reason: kind} if kind.reason else {}
    for child in kind.__subclasses__():
        found.update(_leaves(child))
    return found


BY_REASON: Mapping[str, type[Refused]] = _leaves(Refused)


def from_status(status: status_pb2.Status) -> Refused:
    """Make the exception of a google.rpc.Status.

    A status whose reason is unknown, or that is not the server's own, becomes a Refused.
    """
    return BY_REASON.get(status_details.reason_of(status), Refused)(status)


def from_call(error: grpc.RpcError) -> ZartError:
    """Make the exception of a call that failed."""
    assert isinstance(error, grpc.Call | grpc.aio.AioRpcError)  # noqa: S101 - every one raised is
    for status in status_details.statuses_of(error):
        # Of something between, "unavailable" says only that nobody answered.
        if status_details.is_of_zart(status) or not status_details.is_no_answer(error):
            return from_status(status)
    code, details = error.code(), error.details() or ""
    if status_details.is_no_answer(error) or status_details.was_cut(error):
        return Unreachable(f"no answer from the server: {details or code.name}")
    return Refused(status_pb2.Status(code=code.value[0], message=details))
