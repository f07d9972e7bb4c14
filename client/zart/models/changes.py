"""The answers of what changes an execution, from retry_step to cancel_execution.

Of each: ``planned`` says that nothing was done, and this is what would be; ``plan_token``, given to
the same call, makes it do just that.
"""

from __future__ import annotations

from dataclasses import dataclass

from zart.models.executions import FencedStep, Run, Step
from zart.models.statuses import RunStatus


@dataclass(frozen=True, slots=True)
class RetriedStep:
    """Answers retry_step; ``new_task_id`` is empty where a pause rule withholds the step."""

    new_task_id: str
    run_id: str
    step: Step
    replayed: bool
    plan_token: str = ""
    planned: bool = False


@dataclass(frozen=True, slots=True)
class EndedStep:
    """Answers complete_step and fail_step; a fenced step's late result will be refused.

    ``step`` is without its input and result.
    """

    run_id: str
    step: Step
    fenced_steps: tuple[FencedStep, ...]
    run_status: RunStatus
    replayed: bool
    plan_token: str = ""
    planned: bool = False


@dataclass(frozen=True, slots=True)
class Restarted:
    """Answers restart; ``fenced_steps`` were in flight in the run that was ended."""

    new_run_id: str
    new_run_number: int
    run: Run
    fenced_steps: tuple[FencedStep, ...]
    replayed: bool
    plan_token: str = ""
    planned: bool = False


@dataclass(frozen=True, slots=True)
class PotentiallyStale:
    """A preserved step downstream of steps that run again; ``omitted`` more than are named.

    With ``depends_on_payload`` the new run has another payload than the one it was made with.
    """

    preserved_step: str
    possibly_depends_on: tuple[str, ...]
    omitted: int = 0
    depends_on_payload: bool = False


@dataclass(frozen=True, slots=True)
class Rerun:
    """Answers rerun; in a plan ``new_run_id`` is empty."""

    new_run_id: str
    new_run_number: int
    effective_rerun: tuple[str, ...]
    preserved: tuple[str, ...]
    potentially_stale: tuple[PotentiallyStale, ...]
    fenced_steps: tuple[FencedStep, ...]
    plan_token: str
    replayed: bool
    planned: bool = False


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Answers cancel_execution."""

    run: Run
    fenced_steps: tuple[FencedStep, ...]
    replayed: bool
    plan_token: str = ""
    planned: bool = False
