"""Why steps are not completed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from zart.models.statuses import CauseKind, StepStatus


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing that keeps a step from being completed, since when, and until when if it ends."""

    kind: CauseKind
    text: str
    since: datetime | None
    until: datetime | None
    rule_id: str
    step_names: tuple[str, ...]
    dispatcher_id: str
    ahead: int


@dataclass(frozen=True, slots=True)
class ExplainedStep:
    """A step with every cause that holds, first what is to be done about first.

    ``next`` says what that is, or what happens by itself; ``next_command`` is the argv of the
    command for it, never to be joined with spaces.
    """

    step_name: str
    status: StepStatus
    causes: tuple[Cause, ...]
    next: str
    next_command: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Answers explain_step: the steps, in the graph's order."""

    steps: tuple[ExplainedStep, ...]

    def __iter__(self) -> Iterator[ExplainedStep]:
        return iter(self.steps)

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, index: int) -> ExplainedStep:
        return self.steps[index]

    def step(self, step_name: str) -> ExplainedStep:
        """Return one step. Raises KeyError."""
        for step in self.steps:
            if step.step_name == step_name:
                return step
        raise KeyError(step_name)
