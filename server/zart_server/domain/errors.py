"""Every way an operation can be refused: one class per reason of the contract.

::

    ZartError
    ├── InvalidField            a field of the request cannot be right
    │   ├── UnknownField        or this server does not know it
    │   └── FilterTooBroad      or it has to be set beside others
    ├── NotFound
    │   ├── ExecutionNotFound   RunNotFound   StepNotFound
    │   └── PauseRuleNotFound   TaskDefinitionNotFound   AttemptNotFound   BatchNotFound
    ├── ExecutionExists         RequestIdReused
    ├── StepNotDead             RunNotCurrent   RunActive   RunFinished   NothingToRerun
    ├── StepFinished            StepRunning     StepChanged
    ├── RuleNotActive           StepInDoubt     NotInDoubt
    ├── ScopeMatchesNothing     NothingSelected   BatchFinished
    ├── RunChanged              PlanChanged
    ├── StoreConflict           whatever got in the way, a new transaction may succeed
    │   └── PauseRulesChanged
    ├── PayloadTooLarge         TooManyItems
    ├── OperationTimeout        StoreUnavailable   ShuttingDown
    ├── UnknownMethod           ServerBusy         KeysUnavailable
    ├── Unauthenticated
    │   └── MissingCredentials  InvalidCredentials
    └── RoleRequired

``reason`` is the ErrorInfo reason, ``metadata`` holds every value that the message names.
``api.errors`` maps each class to a gRPC status; nothing else chooses one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

MAX_MESSAGE = 1024  # bytes; what is longer is cut, or trailers of more than 8 KiB would be lost
MAX_VALUE = 300  # bytes of a value or the path of a field; every id fits
SHOWN = 12  # bad fields of one request


def cut(text: str, most: int) -> str:
    """Shorten a text to so many bytes of UTF-8, by whole characters; the end shows that it was."""
    encoded = text[: most + 1].encode(errors="replace")
    if len(encoded) <= most:
        return text
    end = "…"
    return encoded[: most - len(end.encode())].decode(errors="ignore") + end


class ZartError(Exception):
    """An operation was refused; nothing was changed. Its message and its values are cut."""

    reason: ClassVar[str] = "INTERNAL"

    def __init__(self, message: str, **metadata: object) -> None:
        self.message = cut(message, MAX_MESSAGE)
        super().__init__(self.message)
        self.metadata = {key: cut(str(value), MAX_VALUE) for key, value in metadata.items()}


class InvalidField(ZartError):
    """A field of the request cannot be right; ``field`` is its proto path."""

    reason = "INVALID_FIELD"

    def __init__(self, field: str, description: str) -> None:
        super().__init__(f"{field}: {description}", field=field)
        self.field = cut(field, MAX_VALUE)
        self.description = cut(description, MAX_MESSAGE)
        self.violations: tuple[InvalidField, ...] = (self,)

    @classmethod
    def of(cls, errors: Sequence[InvalidField]) -> InvalidField:
        """Make one error of several; the first gives its message."""
        first = errors[0]
        violations = tuple(each for error in errors for each in error.violations)
        if len(errors) == 1:  # it may be one of several already
            return first
        others = ", ".join(dict.fromkeys(each.field for each in violations[1:SHOWN]))
        joined = cls(first.field, f"{violations[0].description}; also wrong: {others}")
        joined.violations = (first.violations[0], *violations[1:SHOWN])
        return joined


class UnknownField(InvalidField):
    """Fields that this server does not know: paths that end with a number."""

    reason = "UNKNOWN_FIELD"

    def __init__(self, fields: Sequence[str]) -> None:
        why = "is not known to this server, which is older than its caller; nothing was done"
        super().__init__(fields[0], why)
        self.violations = tuple(InvalidField(field, why) for field in fields)


class FilterTooBroad(InvalidField):
    """A filter that no index serves; ``field`` is the one to add."""

    reason = "FILTER_TOO_BROAD"


class NotFound(ZartError):
    """Something that the request names is not there."""


class ExecutionNotFound(NotFound):
    """No execution has this id."""

    reason = "EXECUTION_NOT_FOUND"

    def __init__(self, execution_id: str) -> None:
        super().__init__(f"no execution {execution_id!r}", execution_id=execution_id)


class RunNotFound(NotFound):
    """The execution has no run of this number."""

    reason = "RUN_NOT_FOUND"

    def __init__(self, execution_id: str, run_number: int) -> None:
        super().__init__(
            f"execution {execution_id!r} has no run {run_number}",
            execution_id=execution_id,
            run_number=run_number,
        )


class StepNotFound(NotFound):
    """The run has no step of this name."""

    reason = "STEP_NOT_FOUND"

    def __init__(self, run_id: str, step_name: str) -> None:
        super().__init__(
            f"run {run_id!r} has no step {step_name!r}", run_id=run_id, step_name=step_name
        )


class AttemptNotFound(NotFound):
    """The step has no attempt of this number."""

    reason = "ATTEMPT_NOT_FOUND"

    def __init__(self, run_id: str, step_name: str, attempt: int) -> None:
        super().__init__(
            f"step {step_name!r} of {run_id!r} has no attempt {attempt}",
            run_id=run_id,
            step_name=step_name,
            attempt=attempt,
        )


class NotInDoubt(ZartError):
    """The attempt is not in doubt. ``finding``: as which it was resolved, empty if none is told."""

    reason = "NOT_IN_DOUBT"

    def __init__(
        self, run_id: str, step_name: str, attempt: int, status: str, finding: str | None
    ) -> None:
        what = f"is {status.upper()} and not in doubt"
        if finding is not None:
            found = f": {finding.upper()}" if finding else ""
            what = f"ended {status.upper()}, and its doubt is resolved{found}"
        super().__init__(
            f"attempt {attempt} of step {step_name!r} of {run_id} {what}",
            run_id=run_id,
            step_name=step_name,
            attempt=attempt,
            status=status.upper(),
            finding=(finding or "").upper(),
        )


class PauseRuleNotFound(NotFound):
    """No pause rule has this id."""

    reason = "PAUSE_RULE_NOT_FOUND"

    def __init__(self, rule_id: str) -> None:
        super().__init__(f"no pause rule {rule_id!r}", rule_id=rule_id)


class RuleNotActive(ZartError):
    """The pause rule has ended: it cannot be changed any more."""

    reason = "RULE_NOT_ACTIVE"

    def __init__(self, rule_id: str, status: str) -> None:
        super().__init__(
            f"pause rule {rule_id!r} is {status.upper()}, not ACTIVE",
            rule_id=rule_id,
            status=status.upper(),
        )


class BreakerNotFound(NotFound):
    """No breaker has this id."""

    reason = "BREAKER_NOT_FOUND"

    def __init__(self, breaker_id: str) -> None:
        super().__init__(f"no breaker {breaker_id!r}", breaker_id=breaker_id)


class BatchNotFound(NotFound):
    """No batch has this id."""

    reason = "BATCH_NOT_FOUND"

    def __init__(self, batch_id: str) -> None:
        super().__init__(f"no batch {batch_id!r}", batch_id=batch_id)


class BatchFinished(ZartError):
    """The batch is over."""

    reason = "BATCH_FINISHED"

    def __init__(self, batch_id: str, status: str) -> None:
        super().__init__(
            f"batch {batch_id!r} is {status.upper()}", batch_id=batch_id, status=status.upper()
        )


class NothingSelected(ZartError):
    """What a batch is to be of is nothing."""

    reason = "NOTHING_SELECTED"

    def __init__(self, selection: str) -> None:
        super().__init__(f"nothing is selected: {selection}", selection=selection)


class RuleReleasing(ZartError):
    """The pause rule is letting its steps go."""

    reason = "RULE_RELEASING"

    def __init__(self, rule_id: str) -> None:
        super().__init__(
            f"pause rule {rule_id} is RELEASING: stop the release before", rule_id=rule_id
        )


class RuleNotReleasing(ZartError):
    """The pause rule is not letting its steps go."""

    reason = "RULE_NOT_RELEASING"

    def __init__(self, rule_id: str) -> None:
        super().__init__(f"pause rule {rule_id} is not RELEASING", rule_id=rule_id)


class NothingPaused(ZartError):
    """The pause rule withholds no step that it could let go."""

    reason = "NOTHING_PAUSED"

    def __init__(self, rule_id: str, looked_at: int | None = None) -> None:
        """``looked_at``: of how many steps, where the rule has more and they were not looked at."""
        if looked_at is None:
            super().__init__(f"no step is paused by rule {rule_id} alone", rule_id=rule_id)
        else:
            super().__init__(
                f"of the {looked_at} steps that were looked at none is paused by rule {rule_id}"
                " alone",
                rule_id=rule_id,
                looked_at=looked_at,
            )


class RulesAmbiguous(ZartError):
    """A pace is of exactly one rule, and not one is meant."""

    reason = "RULES_AMBIGUOUS"

    def __init__(self, rule_ids: Sequence[str], count: int) -> None:
        named = f": {', '.join(rule_ids)}" if rule_ids else ""
        super().__init__(
            f"a pace is of exactly one rule, {count} are meant{named}; give its rule_id",
            rules=count,
            rule_ids=", ".join(rule_ids),
        )


class ErrorGroupNotFound(NotFound):
    """No error of this group was ever seen."""

    reason = "ERROR_GROUP_NOT_FOUND"

    def __init__(self, error_group_id: str) -> None:
        super().__init__(f"no error group {error_group_id!r}", error_group_id=error_group_id)


class TaskDefinitionNotFound(NotFound):
    """No definition is registered for this task, or not this version."""

    reason = "TASK_DEFINITION_NOT_FOUND"

    def __init__(self, task_name: str, version: int | None = None) -> None:
        if version is None:
            super().__init__(
                f"no definition of task {task_name!r}: start its dispatcher, or send steps",
                task_name=task_name,
            )
        else:
            super().__init__(
                f"task {task_name!r} has no version {version}", task_name=task_name, version=version
            )


class ExecutionExists(ZartError):
    """The execution id is taken."""

    reason = "EXECUTION_EXISTS"

    def __init__(self, execution_id: str, task_name: str) -> None:
        super().__init__(
            f"execution {execution_id!r} exists, of task {task_name!r}",
            execution_id=execution_id,
            task_name=task_name,
        )


class RequestIdReused(ZartError):
    """The request_id was used for a different request."""

    reason = "REQUEST_ID_REUSED"

    def __init__(self, request_id: str) -> None:
        super().__init__(
            f"request_id {request_id!r} was used for a different request: take a new one",
            request_id=request_id,
        )


class StepNotDead(ZartError):
    """Only a dead step can be retried."""

    reason = "STEP_NOT_DEAD"

    def __init__(self, run_id: str, step_name: str, status: str) -> None:
        super().__init__(
            f"step {step_name!r} of run {run_id!r} is {status.upper()}, not DEAD",
            run_id=run_id,
            step_name=step_name,
            status=status.upper(),
        )


class StepInDoubt(ZartError):
    """A step would be run again although an attempt of it may have had its effect, or has."""

    reason = "STEP_IN_DOUBT"

    def __init__(
        self, run_id: str, step_name: str, attempt: int, ended_as: str, finding: str
    ) -> None:
        if finding:
            what = "was found to have happened"
        elif ended_as == "running":
            what = "is in flight, and may have happened when it is broken off"
        else:
            what = f"ended {ended_as.upper()}, and may have happened"
        super().__init__(
            f"attempt {attempt} of step {step_name!r} of {run_id} {what}: to run it again,"
            " set accept_in_doubt",
            run_id=run_id,
            step_name=step_name,
            attempt=attempt,
            ended_as=ended_as.upper(),
            finding=finding.upper(),
        )


class StepFinished(ZartError):
    """The step has ended: an operator cannot end it again."""

    reason = "STEP_FINISHED"

    def __init__(self, run_id: str, step_name: str, status: str) -> None:
        super().__init__(
            f"step {step_name!r} of run {run_id!r} is {status.upper()} already",
            run_id=run_id,
            step_name=step_name,
            status=status.upper(),
        )


class StepRunning(ZartError):
    """The step is in flight, and the caller did not ask to fence it."""

    reason = "STEP_RUNNING"

    def __init__(self, run_id: str, step_name: str, attempt: int, dispatcher_id: str) -> None:
        super().__init__(
            f"step {step_name!r} of run {run_id!r} is in flight (attempt {attempt}, on"
            f" {dispatcher_id!r}): wait, or fence it",
            run_id=run_id,
            step_name=step_name,
            attempt=attempt,
            dispatcher_id=dispatcher_id,
        )


class StepChanged(ZartError):
    """The last attempt of the step is not the one that the caller expected."""

    reason = "STEP_CHANGED"

    def __init__(self, run_id: str, step_name: str, expected: int, attempt: int) -> None:
        super().__init__(
            f"the last attempt of step {step_name!r} of run {run_id!r} is {attempt},"
            f" not {expected}: look again",
            run_id=run_id,
            step_name=step_name,
            expected_attempt=expected,
            attempt=attempt,
        )


class RunNotCurrent(ZartError):
    """The run named was superseded."""

    reason = "RUN_NOT_CURRENT"

    def __init__(self, run_id: str, current_run_number: int) -> None:
        super().__init__(
            f"run {run_id!r} is not current: run {current_run_number} is",
            run_id=run_id,
            current_run_number=current_run_number,
        )


class RunActive(ZartError):
    """The current run is unfinished and the caller asked to refuse then."""

    reason = "RUN_ACTIVE"

    def __init__(self, run_id: str, status: str) -> None:
        super().__init__(
            f"run {run_id!r} is {status.upper()}: wait, cancel it, or ask to supersede it",
            run_id=run_id,
            status=status.upper(),
        )


class RunFinished(ZartError):
    """The run is finished."""

    reason = "RUN_FINISHED"

    def __init__(self, run_id: str, status: str) -> None:
        super().__init__(
            f"run {run_id!r} is {status.upper()}", run_id=run_id, status=status.upper()
        )


class ScopeMatchesNothing(ZartError):
    """No definition and no unfinished execution has what a scope names in ``field``."""

    reason = "SCOPE_MATCHES_NOTHING"

    def __init__(self, field: str, why: str, nearest: Sequence[str] = ()) -> None:
        meant = f"; did you mean {' or '.join(map(repr, nearest))}?" if nearest else ""
        super().__init__(f"{why}{meant}", field=field, nearest=", ".join(nearest))
        self.field = field
        self.nearest = tuple(nearest)


class NothingToRerun(ZartError):
    """Every step would be preserved."""

    reason = "NOTHING_TO_RERUN"

    def __init__(self, run_id: str) -> None:
        super().__init__(
            f"every step of run {run_id!r} is completed: name steps in force_rerun", run_id=run_id
        )


class RunChanged(ZartError):
    """The current run is not the one that the caller expected."""

    reason = "RUN_CHANGED"

    def __init__(self, execution_id: str, expected: int, current: int) -> None:
        super().__init__(
            f"the current run of {execution_id!r} is {current}, not {expected}: look again",
            execution_id=execution_id,
            expected_run_number=expected,
            current_run_number=current,
        )


class PlanChanged(ZartError):
    """What plan_token was given for is not what this would do; ``changed`` names why."""

    reason = "PLAN_CHANGED"

    def __init__(self, changed: Sequence[str]) -> None:
        names = ", ".join(changed)
        super().__init__(
            f"not as it was planned: {names}; nothing was done: plan again", changed=names
        )


class StoreConflict(ZartError):
    """Concurrent changes, also after repeats."""

    reason = "STORE_CONFLICT"

    def __init__(self, what: str = "concurrent changes") -> None:
        super().__init__(f"{what} got in the way: repeat the call")


class PauseRulesChanged(StoreConflict):
    """The pause rules are not those that were judged by, though these were read under the lock."""

    reason = "STORE_CONFLICT"

    def __init__(self) -> None:
        super().__init__("pause rules that changed twice")


class PayloadTooLarge(ZartError):
    """A payload, result, input or message is too large."""

    reason = "PAYLOAD_TOO_LARGE"

    def __init__(self, field: str, size: int, limit: int) -> None:
        super().__init__(
            f"{field}: {size} bytes, at most {limit} are taken", field=field, size=size, limit=limit
        )
        self.field = self.metadata["field"]


class TooManyItems(ZartError):
    """More items than one call may carry."""

    reason = "TOO_MANY_ITEMS"

    def __init__(self, field: str, count: int, limit: int) -> None:
        super().__init__(
            f"{field}: {count} items, at most {limit} are taken",
            field=field,
            count=count,
            limit=limit,
        )
        self.field = self.metadata["field"]


class OperationTimeout(ZartError):
    """The operation took too long in the server.

    ``held_by`` names who held the pause lock, where that is why, and nothing was changed.
    """

    reason = "OPERATION_TIMEOUT"

    def __init__(self, held_by: Sequence[str] | None = None) -> None:
        if held_by is None:
            super().__init__("the operation took too long: repeat it with the same request_id")
            return
        who = " and ".join(held_by) or "others, in turn"
        super().__init__(
            f"the pause lock was held by {who}: nothing was changed;"
            " repeat it with the same request_id",
            held_by=", ".join(held_by),
        )


class StoreUnavailable(ZartError):
    """The database cannot serve now."""

    reason = "STORE_UNAVAILABLE"

    def __init__(self) -> None:
        super().__init__("the database cannot serve now: repeat in a moment")


class ShuttingDown(ZartError):
    """This server is stopping."""

    reason = "SHUTTING_DOWN"

    def __init__(self) -> None:
        super().__init__("this server is stopping: repeat, another one serves")


class Unauthenticated(ZartError):
    """The server does not know who calls.

    ``why`` is for the server's log only. ``retry_after``: seconds to wait, where the caller's
    address failed too often; ``untold``: how many such failures the log does not tell of.
    """

    def __init__(self, message: str, why: str = "") -> None:
        super().__init__(message)
        self.why = why
        self.retry_after: float | None = None
        self.untold = 0


class MissingCredentials(Unauthenticated):
    """No credentials were sent."""

    reason = "MISSING_CREDENTIALS"

    def __init__(self) -> None:
        super().__init__("credentials are needed: a bearer token, or a certificate of a known name")


class InvalidCredentials(Unauthenticated):
    """The credentials do not hold."""

    reason = "INVALID_CREDENTIALS"

    def __init__(self, why: str = "") -> None:
        super().__init__("the credentials do not hold", why)


class RoleRequired(ZartError):
    """The caller lacks the role."""

    reason = "ROLE_REQUIRED"

    def __init__(self, role: str, of_what: str = "") -> None:
        super().__init__(f"role {role!r} is needed{of_what and ' '}{of_what}", role=role)


class ServerBusy(ZartError):
    """This server has as many calls as it takes."""

    reason = "SERVER_BUSY"

    def __init__(self) -> None:
        super().__init__("this server has as many calls as it takes: repeat in a moment")


class KeysUnavailable(ZartError):
    """The keys that tokens are verified by were never there: nobody can tell who calls."""

    reason = "KEYS_UNAVAILABLE"

    def __init__(self) -> None:
        super().__init__("the keys that tokens are verified by could not be fetched yet: repeat")


class UnknownMethod(ZartError):
    """The server has no such method."""

    reason = "UNKNOWN_METHOD"

    def __init__(self, method: str) -> None:
        super().__init__(f"no method {method}: reflection lists what is there", method=method)
