"""Executions, their runs, steps and attempts, as the server tells their state."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from zart.models.json_value import Json
from zart.models.statuses import (
    AttemptStatus,
    RunStatus,
    RunTrigger,
    StepResolution,
    StepStatus,
)


@dataclass(frozen=True, slots=True)
class StepError:
    """What went wrong in a step."""

    type: str
    message: str
    details: str


@dataclass(frozen=True, slots=True)
class DeadStep:
    """A dead step of an execution in a list; its error has no details."""

    step_name: str
    error: StepError | None


@dataclass(frozen=True, slots=True)
class Execution:
    """One durable job; its state is that of its newest run.

    ``dead_steps``, at most three, are filled in lists.
    """

    execution_id: str
    task_name: str
    current_run_id: str
    current_run_number: int
    status: RunStatus
    created_at: datetime | None
    waiting_on: str
    dead_steps: tuple[DeadStep, ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """One pass over the steps of an execution.

    ``result_omitted``: it is COMPLETED, and its ``result`` was left out: for its size, of more than
    4 MiB (``client.handle(execution_id).result()`` has it), or where runs are compared or changed.
    """

    run_id: str
    execution_id: str
    run_number: int
    status: RunStatus
    trigger: RunTrigger
    triggered_by: str
    reason: str
    definition_version: int
    source_run_number: int | None
    payload: Json
    result: Json
    error: str
    created_at: datetime | None
    started_at: datetime | None
    completed_at: datetime | None
    principal: str = ""
    trace_id: str = ""
    result_omitted: bool = False


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of a step; ``reason`` is why, where an operator made it."""

    attempt: int
    status: AttemptStatus
    dispatcher_id: str
    error: StepError | None
    started_at: datetime | None
    completed_at: datetime | None
    principal: str = ""
    in_doubt: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a run.

    ``input_corrections`` counts how many times an operator has corrected its input in this run.
    Where ``result_omitted`` or ``input_omitted`` is true, ``get_step`` has what was left out.
    """

    step_name: str
    status: StepStatus
    depends_on: tuple[str, ...]
    attempt: int
    max_attempts: int
    input: Json
    result: Json
    result_omitted: bool
    last_error: StepError | None
    retryable: bool
    task_id: str
    not_before: datetime | None
    lease_owner: str
    lease_expires_at: datetime | None
    paused_by: str
    waiting_on: str
    preserved_from_run_number: int | None
    scheduled_at: datetime | None
    started_at: datetime | None
    completed_at: datetime | None
    attempts: tuple[Attempt, ...]
    handler: str
    in_doubt: bool = False
    input_corrections: int = 0
    input_omitted: bool = False
    resolution: StepResolution = StepResolution.UNSPECIFIED
    errors_omitted: bool = False


@dataclass(frozen=True, slots=True)
class FencedStep:
    """A step that was in flight when it, or its run, was ended; its result will be refused."""

    step_name: str
    attempt: int
    dispatcher_id: str


@dataclass(frozen=True, slots=True)
class ExecutionState:
    """An execution, one of its runs and the run's steps; of a watch: the steps that changed."""

    execution: Execution
    run: Run
    steps: tuple[Step, ...]

    def step(self, step_name: str) -> Step:
        """Return one step. Raises KeyError."""
        for step in self.steps:
            if step.step_name == step_name:
                return step
        raise KeyError(step_name)
