"""Lines for people about what an operation did, or would do in a plan."""

from __future__ import annotations

from collections.abc import Sequence

from zart.models import (
    Cancelled,
    EndedStep,
    FencedStep,
    PotentiallyStale,
    Rerun,
    Restarted,
    RetriedStep,
)


def fenced_lines(fenced: Sequence[FencedStep]) -> list[str]:
    """Name the steps that were in flight when they, or their run, were ended."""
    return [
        f"fenced    {step.step_name} (attempt {step.attempt}, on {step.dispatcher_id}):"
        " its result will be refused"
        for step in fenced
    ]


def be(answer: RetriedStep | EndedStep | Restarted | Cancelled) -> str:
    """Return the verb of what became of something, or would in a plan."""
    return "would be" if answer.planned else "is"


def run_lines(answer: Restarted | Cancelled) -> list[str]:
    """Tell the run that was made, or ended, and the steps that were in flight."""
    head = f"{answer.run.run_id} {be(answer)} {answer.run.status}"
    return [head, *fenced_lines(answer.fenced_steps)]


def rerun_lines(plan: Rerun) -> list[str]:
    """Describe what a rerun does, or would do."""
    head = "would make run" if plan.planned else "made run"
    lines = [
        f"{head} {plan.new_run_number}",
        f"reruns    {', '.join(plan.effective_rerun)}",
        f"preserves {', '.join(plan.preserved) or 'nothing'}",
    ]
    lines += [
        f"stale?    {stale.preserved_step}: it may rest on {', '.join(_causes(stale))}"
        for stale in plan.potentially_stale
    ]
    return [*lines, *fenced_lines(plan.fenced_steps)]


def _causes(stale: PotentiallyStale) -> list[str]:
    named = [*stale.possibly_depends_on]
    if stale.depends_on_payload:
        named.insert(0, "another payload")
    if stale.omitted:
        named[-1] += f" and {stale.omitted} more"
    return named
