"""A model of executions, runs, steps and pause rules, to hold the server against."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, field
from typing import Any

from zart.models import LeasedTask

ATTEMPTS = 2


@dataclass
class Step:
    """A step of the model; ``ready`` is SCHEDULED or PAUSED. ``input`` is what was corrected."""

    deps: tuple[str, ...]
    status: str = "PENDING"
    counted: int = 0
    budget: int = ATTEMPTS
    token: int = 0  # of its last lease
    input: int | None = None
    corrections: int = 0

    def correct(self, value: int | None) -> None:
        """Have another input; the present one, or none, corrects nothing."""
        if value not in (None, self.input):
            self.input, self.corrections = value, self.corrections + 1

    def again(self) -> Step:
        """Return the step as a rerun has it."""
        return Step(self.deps, input=self.input, corrections=min(self.corrections, 1))


@dataclass
class Run:
    """A run of the model."""

    steps: dict[str, Step]
    cancelled: bool = False

    def open(self) -> None:
        """Make ready what waits for nothing any more."""
        for step in self.steps.values():
            if step.status == "PENDING" and all(
                self.steps[d].status == "COMPLETED" for d in step.deps
            ):
                step.status = "READY"

    @property
    def finished(self) -> bool:
        """Whether nothing moves."""
        return self.cancelled or not any(
            s.status in {"READY", "RUNNING"} for s in self.steps.values()
        )

    @property
    def end(self) -> str:
        """How it ended."""
        if self.cancelled:
            return "CANCELLED"
        done = all(s.status == "COMPLETED" for s in self.steps.values())
        return "COMPLETED" if done else "FAILED"

    def cancel(self) -> None:
        """End it."""
        self.cancelled = True
        for step in self.steps.values():
            if step.status in {"PENDING", "READY", "RUNNING"}:
                step.status = "CANCELLED"


@dataclass
class Model:
    """Executions, pause rules, and the leases that are out, stale ones included."""

    executions: dict[str, list[Run]] = field(default_factory=dict)
    rules: dict[str, dict[str, Any]] = field(default_factory=dict)
    exempt: dict[str, set[str]] = field(default_factory=dict)
    leases: list[tuple[str, int, LeasedTask]] = field(default_factory=list)

    def paused(self, execution_id: str, step: str) -> bool:
        """Whether some rule matches."""
        return any(
            execution_id not in self.exempt.get(rule_id, ())
            and scope.get("execution_id", execution_id) == execution_id
            and (
                "step_pattern" not in scope
                or any(
                    fnmatch.fnmatchcase(step, p)
                    for p in ({"{c,d}": ["c", "d"]}.get(scope["step_pattern"])
                              or [scope["step_pattern"]])
                )
            )
            for rule_id, scope in self.rules.items()
        )  # fmt: skip


def fresh(graph: dict[str, tuple[str, ...]]) -> Run:
    """Make a run of the model."""
    run = Run({name: Step(tuple(deps)) for name, deps in graph.items()})
    run.open()
    return run
