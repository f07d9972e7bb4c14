"""Short words for what tests of ExplainStep do."""

from __future__ import annotations

from datetime import timedelta

from rig import Rig

from zart.models import ExplainedStep

_ASKED = """
    INSERT INTO zart.task_names (task_name, last_asked_at) VALUES ('t', now() - $1::interval)
    ON CONFLICT (task_name) DO UPDATE SET last_asked_at = EXCLUDED.last_asked_at
"""


async def why(rig: Rig, step_name: str, execution_id: str = "x", **options: int) -> ExplainedStep:
    """Explain one step."""
    (step,) = await rig.client.explain_step(execution_id, step_name, **options)
    assert step.step_name == step_name
    return step


def kinds(step: ExplainedStep) -> list[str]:
    """Return the kinds of the causes, in order."""
    return [cause.kind.value for cause in step.causes]


async def asked(rig: Rig, ago: timedelta = timedelta(hours=-1)) -> None:
    """Let a dispatcher have asked for the task; in the time to come, so that it does not pass."""
    await rig.db.execute(_ASKED, ago)
