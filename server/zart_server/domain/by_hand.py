"""Steps ended by hand: what an operator asks for, and what is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from zart_server.domain.model import FencedStep, RunStatus, Step, StepError
from zart_server.domain.plans import NO_PLAN, Planning
from zart_server.domain.step_resolution import StepResolution

# Who runs an attempt that an operator makes.
OPERATOR = "operator"
SKIPPED = "null"


@dataclass(frozen=True, slots=True)
class CompleteStep:
    """Complete a step with a result; ``is_skip``: the step is skipped, and the result null.

    ``fence``: also one that is in flight. ``expected_attempt``: the last one, as the caller saw it.
    ``execution_key``: of the execution that a batch has selected; None: whichever has the id.
    """

    execution_id: str
    step_name: str
    result_json: str
    is_skip: bool = False
    fence: bool = False
    expected_attempt: int | None = None
    expected_run_number: int | None = None
    planning: Planning = NO_PLAN
    execution_key: int | None = None

    @property
    def resolution(self) -> StepResolution:
        """Who completed the step, as it is told."""
        if self.is_skip:
            return StepResolution.SKIPPED_BY_OPERATOR
        return StepResolution.COMPLETED_BY_OPERATOR


@dataclass(frozen=True, slots=True)
class FailStep:
    """Fail a step for good; otherwise as CompleteStep."""

    execution_id: str
    step_name: str
    message: str
    fence: bool = False
    expected_attempt: int | None = None
    expected_run_number: int | None = None
    planning: Planning = NO_PLAN
    execution_key: int | None = None

    @property
    def error(self) -> StepError:
        """What is told of the step."""
        return StepError("FailedByOperator", self.message)


EndStep: TypeAlias = CompleteStep | FailStep


@dataclass(frozen=True, slots=True)
class EndedStep:
    """A step that was ended by hand, and the run's state then."""

    run_id: str
    step: Step
    fenced_steps: tuple[FencedStep, ...]
    run_status: RunStatus
    plan_token: str = ""
