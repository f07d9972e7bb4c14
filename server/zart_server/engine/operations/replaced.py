"""Describes the former run, for the record of an operation."""

from __future__ import annotations

from zart_server.domain.model import FencedStep
from zart_server.domain.operations import Replaced
from zart_server.store.runs import RunRow


def replaced_run(run: RunRow, fenced: tuple[FencedStep, ...]) -> Replaced:
    """Describe the run that an operation ended or followed."""
    return Replaced(
        run_number=run.run_number,
        status=run.status,
        error=run.error,
        completed_at=run.completed_at,
        fenced_steps=fenced,
    )
