"""The calls of DispatchService, for those who write a dispatcher of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from zart.calls.call import Call, reader, span
from zart.calls.execution import step_spec
from zart.calls.payload import json_text
from zart.calls.several import several
from zart.decoding import decode
from zart.json_values import value_of
from zart.models import ExtendResult, Json, LeasedTask, ReportResult, StepError, StepSpec
from zart.v1 import dispatch_service_pb2 as pb
from zart.v1 import execution_pb2, task_definition_pb2

_METHODS = pb.DESCRIPTOR.services_by_name["DispatchService"].methods_by_name


@dataclass(frozen=True, slots=True)
class Registered:
    """Answers register_task: the version of this content."""

    task_name: str
    version: int


@dataclass(frozen=True, slots=True)
class Completed:
    """The attempt ended with a result."""

    result: Json = None

    def into(self, outcome: pb.TaskOutcome) -> None:
        """Set this ending."""
        outcome.completed.result_json = json_text(self.result)


@dataclass(frozen=True, slots=True)
class Failed:
    """The attempt ended with an error; not retryable: the step is dead."""

    error: StepError
    retryable: bool = True
    retry_after: float | timedelta | None = None

    def into(self, outcome: pb.TaskOutcome) -> None:
        """Set this ending."""
        outcome.failed.error.CopyFrom(
            execution_pb2.StepError(
                type=self.error.type, message=self.error.message, details=self.error.details
            )
        )
        outcome.failed.retryable = self.retryable
        if self.retry_after is not None:
            outcome.failed.retry_after.CopyFrom(span(self.retry_after, "retry_after"))


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The attempt ran longer than its timeout."""

    def into(self, outcome: pb.TaskOutcome) -> None:
        """Set this ending."""
        outcome.timed_out.SetInParent()


@dataclass(frozen=True, slots=True)
class Released:
    """The attempt was given back; it does not count.

    Of a step with ``if_in_doubt`` STOP it is taken as lost, unless its handler has ``not_begun``.
    """

    retry_after: float | timedelta | None = None
    not_begun: bool = False

    def into(self, outcome: pb.TaskOutcome) -> None:
        """Set this ending."""
        outcome.released.SetInParent()
        outcome.released.not_begun = self.not_begun
        if self.retry_after is not None:
            outcome.released.retry_after.CopyFrom(span(self.retry_after, "retry_after"))


@dataclass(frozen=True, slots=True)
class Lost:
    """The dispatcher stops while the handler is at work: it may have had its effect. It counts."""

    def into(self, outcome: pb.TaskOutcome) -> None:
        """Set this ending."""
        outcome.lost.SetInParent()


Ending = Completed | Failed | TimedOut | Released | Lost


@dataclass(frozen=True, slots=True)
class Lease:
    """Names a lease: a leased task's id and token."""

    task_id: str
    lease_token: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one leased task."""

    task_id: str
    lease_token: int
    ending: Ending = field(default_factory=Completed)


def register_task(
    task_name: str, steps: Sequence[StepSpec], *, incident: str = ""
) -> Call[Registered]:
    """Register a task definition and make it current. Raises InvalidField."""
    request = pb.RegisterTaskRequest(
        definition=task_definition_pb2.TaskDefinition(
            task_name=task_name, steps=map(step_spec, steps)
        ),
        incident=incident,
    )
    return Call(_METHODS["RegisterTask"], request, reader(Registered))


def lease_tasks(
    dispatcher_id: str,
    task_names: Iterable[str],
    *,
    handlers: Iterable[str] = (),
    max_tasks: int = 1,
    wait: float | timedelta = 0,
    lease_duration: float | timedelta = 30,
) -> Call[tuple[LeasedTask, ...]]:
    """Lease queued tasks, waiting for the first one. Never repeated by itself."""
    waiting = span(wait, "wait")
    request = pb.LeaseTasksRequest(
        dispatcher_id=dispatcher_id,
        task_names=several(task_names),
        handlers=several(handlers),
        max_tasks=max_tasks,
        wait=waiting,
        lease_duration=span(lease_duration, "lease_duration"),
    )
    return Call(
        _METHODS["LeaseTasks"],
        request,
        lambda response: tuple(decode(LeasedTask, task) for task in response.tasks),
        extra_time=waiting.ToTimedelta().total_seconds(),
    )


def get_step_results(lease: Lease, step_names: Iterable[str]) -> Call[Mapping[str, Json]]:
    """Read results of direct dependencies that lease_tasks left out for size."""
    request = pb.GetStepResultsRequest(
        task_id=lease.task_id, lease_token=lease.lease_token, step_names=several(step_names)
    )
    return Call(_METHODS["GetStepResults"], request, step_results)


def step_results(response: pb.GetStepResultsResponse) -> Mapping[str, Json]:
    """Read the results of an answer to GetStepResults."""
    return {name: value_of(text) for name, text in response.results.items()}


def report_tasks(dispatcher_id: str, outcomes: Iterable[Outcome]) -> Call[tuple[ReportResult, ...]]:
    """Report what became of leased tasks, each by itself; a repeat changes nothing."""
    request = pb.ReportTasksRequest(dispatcher_id=dispatcher_id)
    for item in outcomes:
        outcome = request.outcomes.add(task_id=item.task_id, lease_token=item.lease_token)
        item.ending.into(outcome)
    return Call(
        _METHODS["ReportTasks"],
        request,
        lambda response: tuple(decode(ReportResult, result) for result in response.results),
    )


def extend_leases(dispatcher_id: str, leases: Iterable[Lease]) -> Call[tuple[ExtendResult, ...]]:
    """Extend leases by the time they were taken for."""
    request = pb.ExtendLeasesRequest(
        dispatcher_id=dispatcher_id,
        leases=[
            pb.LeaseRef(task_id=lease.task_id, lease_token=lease.lease_token) for lease in leases
        ],
    )
    return Call(
        _METHODS["ExtendLeases"],
        request,
        lambda response: tuple(decode(ExtendResult, result) for result in response.results),
    )
