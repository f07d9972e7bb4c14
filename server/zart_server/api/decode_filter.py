"""The filters of executions, checked and decoded."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from google.protobuf.message import Message

from zart.v1 import execution_pb2, filter_pb2
from zart.v1 import execution_service_pb2 as pb
from zart_server.api.checks import Checks
from zart_server.api.fields import has, items_of, lines_of, name_of, text_of, time_of
from zart_server.domain.errors import FilterTooBroad, InvalidField
from zart_server.domain.filters import NEEDS_SINCE, ExecutionFilter, ListExecutions
from zart_server.domain.fingerprint import has_form_of_error_group_id
from zart_server.domain.globs import check_glob
from zart_server.domain.model import RunStatus, StepStatus

_FIRST_FIELDS = ("task_name", "statuses", "step_statuses", "created_after", "created_before")


def list_executions(request: pb.ListExecutionsRequest) -> ListExecutions | ExecutionFilter:
    """Decode which executions ListExecutions is to list. Raises FilterTooBroad."""
    with Checks() as check:
        if has(request, "filter"):
            given = {field.name for field, _ in request.ListFields()}
            for name in filter(given.__contains__, _FIRST_FIELDS):
                check.fail(name, "is not taken beside filter, which has it, too")
            return check(filter_of, request.filter, "filter")
        return ListExecutions(
            task_name=check(name_of, request.task_name, "task_name") if request.task_name else "",
            statuses=check(_run_statuses, request.statuses, "statuses"),
            step_statuses=check(_step_statuses, request.step_statuses, "step_statuses"),
            created_after=check(_time, request, "created_after"),
            created_before=check(_time, request, "created_before"),
        )


def groups_wanted(request: pb.ListErrorGroupsRequest) -> ExecutionFilter:
    """Decode of which dead steps ListErrorGroups is to tell. Raises FilterTooBroad."""
    wanted = filter_of(request.filter, "filter")
    with Checks() as check:
        if not set(wanted.step_statuses) <= {StepStatus.DEAD}:
            check.fail("filter.step_statuses", "is to be DEAD, or unset: others died of nothing")
        if wanted.rule_id:
            check.fail("filter.rule_id", "is of PAUSED steps, and these died of nothing")
    return wanted


def filter_of(
    message: filter_pb2.ExecutionFilter, path: str, *, by_clock: bool = True
) -> ExecutionFilter:
    """Decode a filter, which stands at ``path`` in its request. Raises FilterTooBroad.

    Not ``by_clock``: nothing depends on when it is asked, as for what may be a repeat.
    """
    with Checks() as check:
        found = ExecutionFilter(
            task_name=check(_name, message, "task_name", path),
            statuses=check(_run_statuses, message.statuses, f"{path}.statuses"),
            step_statuses=check(_step_statuses, message.step_statuses, f"{path}.step_statuses"),
            step_pattern=check(_pattern, message.step_pattern, f"{path}.step_pattern"),
            error_group_id=check(_group, message.error_group_id, f"{path}.error_group_id"),
            error_contains=check(lines_of, message.error_contains, f"{path}.error_contains"),
            dead_after=check(_time, message, "dead_after", path),
            dead_before=check(_time, message, "dead_before", path),
            created_after=check(_time, message, "created_after", path),
            created_before=check(_time, message, "created_before", path),
            execution_id_prefix=check(_name, message, "execution_id_prefix", path),
            triggered_by=check(text_of, message.triggered_by, f"{path}.triggered_by"),
            batch_id=check(_name, message, "batch_id", path),
            rule_id=check(_name, message, "rule_id", path),
        )
    with Checks() as check:
        for field, what in _contradictions(found):
            check.fail(f"{path}.{field}", what)
    if broad := _too_broad(found, datetime.now(UTC) if by_clock else None):
        raise FilterTooBroad(f"{path}.{broad[0]}", broad[1])
    return found


def _contradictions(found: ExecutionFilter) -> list[tuple[str, str]]:
    if not found.rule_id:
        return []
    wrong = []
    if not set(found.step_statuses) <= {StepStatus.PAUSED}:
        wrong.append(("step_statuses", "a step that a rule withholds is PAUSED, nothing else"))
    if found.has_error_conditions:
        wrong.append(("rule_id", "is of PAUSED steps, conditions on errors of DEAD ones"))
    return wrong


def _too_broad(found: ExecutionFilter, now: datetime | None) -> tuple[str, str] | None:
    """Return the field that is missing for an index to serve, and why."""
    asks = (found.step_pattern and not found.rule_id) or found.has_error_conditions
    if asks and not set(found.step_statuses) <= {StepStatus.DEAD}:
        return "step_statuses", "is to be DEAD, or unset, where steps are named, or their errors"
    return ("created_after", NEEDS_SINCE) if found.needs_since(now) else None


def _name(message: filter_pb2.ExecutionFilter, field: str, path: str) -> str:
    text: str = getattr(message, field)
    return name_of(text, f"{path}.{field}") if text else ""


def _time(message: Message, field: str, path: str = "") -> datetime | None:
    if not has(message, field):
        return None
    return time_of(getattr(message, field), f"{path}.{field}" if path else field)


def _pattern(pattern: str, field: str) -> str:
    if not pattern:
        return ""
    try:
        check_glob(pattern)
    except ValueError as error:
        raise InvalidField(field, str(error)) from None
    return pattern


def _group(text: str, field: str) -> str:
    if text and not has_form_of_error_group_id(text):
        raise InvalidField(field, "is no error group's id: eg- and 8 letters or digits")
    return text


def _run_statuses(values: Sequence[int], field: str) -> tuple[RunStatus, ...]:
    items_of(values, field)
    with Checks() as check:
        found = [check(run_status_of, value, f"{field}[{n}]") for n, value in enumerate(values)]
        return tuple(dict.fromkeys(found))


def _step_statuses(values: Sequence[int], field: str) -> tuple[StepStatus, ...]:
    items_of(values, field)
    with Checks() as check:
        found = [check(step_status_of, value, f"{field}[{n}]") for n, value in enumerate(values)]
        return tuple(dict.fromkeys(found))


def run_status_of(value: int, field: str) -> RunStatus:
    """Decode a run status of a filter."""
    if value == 0 or value not in execution_pb2.RunStatus.values():
        raise InvalidField(field, f"{value} is not a value of RunStatus")
    name = execution_pb2.RunStatus.Name(value)  # type: ignore[arg-type]  # it is one of them
    return RunStatus(name.removeprefix("RUN_STATUS_").lower())


def step_status_of(value: int, field: str) -> StepStatus:
    """Decode a step status of a filter."""
    if value == 0 or value not in execution_pb2.StepStatus.values():
        raise InvalidField(field, f"{value} is not a value of StepStatus")
    name = execution_pb2.StepStatus.Name(value)  # type: ignore[arg-type]  # it is one of them
    return StepStatus(name.removeprefix("STEP_STATUS_").lower())
