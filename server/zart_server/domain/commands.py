"""What callers ask for and what they are told, decoded: one request and one result per verb.

Those of dispatchers are in ``domain.dispatch``.

``api`` makes the requests from protos, having checked everything that needs no database;
``engine`` takes them; ``api`` encodes the results.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, NamedTuple, TypeAlias, TypeVar

from zart_server.domain.errors import ZartError
from zart_server.domain.graph import Graph
from zart_server.domain.model import (
    Execution,
    FencedStep,
    IfExists,
    IfRunning,
    PauseRule,
    PauseScope,
    Run,
    RunStatus,
    Step,
    StepStatus,
)
from zart_server.domain.operations import OperationKind

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as the caller claims, why, and under which request_id (empty: none).

    ``principal`` is who it is, as the server verified it; empty where nobody is asked.
    ``incident`` is the caller's name of what it belongs to.
    """

    triggered_by: str = ""
    reason: str = ""
    request_id: str = ""
    principal: str = ""
    incident: str = ""


@dataclass(frozen=True, slots=True)
class StartExecution:
    """Start one execution. ``graph`` None: the task's current definition."""

    execution_id: str
    task_name: str
    payload_json: str | None
    graph: Graph | None
    if_exists: IfExists
    caller: Caller


@dataclass(frozen=True, slots=True)
class RetryStep:
    """Revive a dead step. ``max_attempts`` None: the definition's."""

    execution_id: str
    step_name: str
    run_number: int | None
    max_attempts: int | None
    expected_run_number: int | None


@dataclass(frozen=True, slots=True)
class RetriedStep:
    """What RetryStep did. ``task_id`` is empty where a pause rule withholds the step."""

    task_id: str
    run_id: str
    step: Step


@dataclass(frozen=True, slots=True)
class Restart:
    """Create the next run from scratch. ``payload_json`` None: the previous run's."""

    execution_id: str
    payload_json: str | None
    if_running: IfRunning
    expected_run_number: int | None


@dataclass(frozen=True, slots=True)
class Restarted:
    """What Restart did; ``run`` without its payload."""

    run: Run
    fenced_steps: tuple[FencedStep, ...]


@dataclass(frozen=True, slots=True)
class Rerun:
    """Create the next run with some results carried over. ``plan_token`` empty: any plan."""

    execution_id: str
    force_rerun: tuple[str, ...]
    preserve: tuple[str, ...]
    include_downstream: bool
    validate_only: bool
    plan_token: str
    if_running: IfRunning
    expected_run_number: int | None


class Stale(NamedTuple):
    """A preserved step, and the rerun steps that it transitively depends on.

    ``omitted``: how many more there are than are named.
    """

    step_name: str
    causes: tuple[str, ...]
    omitted: int


@dataclass(frozen=True, slots=True)
class RerunPlan:
    """Which steps run again and which are kept, in the graph's order."""

    effective_rerun: tuple[str, ...]
    preserved: tuple[str, ...]
    potentially_stale: tuple[Stale, ...]


@dataclass(frozen=True, slots=True)
class Rerunned:
    """What Rerun did, or with validate_only would do (``new_run_id`` is empty then)."""

    new_run_id: str
    new_run_number: int
    plan: RerunPlan
    fenced_steps: tuple[FencedStep, ...]
    plan_token: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Add a pause rule. At most one of ``expires_at`` and ``expires_in`` is set."""

    scope: PauseScope
    expires_at: datetime | None
    expires_in: timedelta | None


@dataclass(frozen=True, slots=True)
class PauseCounts:
    """How many ready steps a rule withholds, exact to 10,000, and how many are in flight."""

    paused_steps: int
    is_lower_bound: bool
    running_steps: int


@dataclass(frozen=True, slots=True)
class Resume:
    """Delete one rule, or those whose own scope fields equal every field set (none: all)."""

    rule_id: str | None
    scope: PauseScope


@dataclass(frozen=True, slots=True)
class Resumed:
    """What Resume deleted and how many steps that lets go, exact to 10,000.

    With ``rule_id`` an already deleted rule is in ``rules`` too.
    """

    rules_deleted: int
    rules: tuple[PauseRule, ...]
    released_steps: int
    is_lower_bound: bool
    still_paused_steps: int


@dataclass(frozen=True, slots=True)
class CancelExecution:
    """Cancel the current run."""

    execution_id: str
    expected_run_number: int | None


@dataclass(frozen=True, slots=True)
class Cancelled:
    """What CancelExecution did; ``run`` without its payload."""

    run: Run
    fenced_steps: tuple[FencedStep, ...]


@dataclass(frozen=True, slots=True)
class ExecutionView:
    """An execution, one run of it and the run's steps, as of one moment.

    ``digest`` is another one once the run has changed; empty where nobody asked for it.
    """

    execution: Execution
    run: Run
    steps: tuple[Step, ...]
    run_key: int
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list. ``next_cursor`` None: the last one."""

    items: tuple[T, ...]
    next_cursor: tuple[int | str, ...] | None


@dataclass(frozen=True, slots=True)
class ListExecutions:
    """Which executions to list, newest first. Empty filters match all."""

    task_name: str
    statuses: tuple[RunStatus, ...]
    step_statuses: tuple[StepStatus, ...]
    created_after: datetime | None
    created_before: datetime | None


@dataclass(frozen=True, slots=True)
class ListOperations:
    """Which operations to list, newest first. Empty filters match all."""

    execution_id: str
    kind: OperationKind | None


StartResult: TypeAlias = Execution | ZartError
