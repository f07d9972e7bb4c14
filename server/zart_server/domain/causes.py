"""Why a step is not completed: the causes, and the step with all of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from zart_server.domain.model import StepStatus


class CauseKind(StrEnum):
    """What kind of thing keeps a step from being completed."""

    DEPENDENCIES = "dependencies"
    DEAD_DEPENDENCY = "dead_dependency"
    PAUSE_RULE = "pause_rule"
    RELEASE_QUEUE = "release_queue"
    BACKOFF = "backoff"
    NO_DISPATCHER = "no_dispatcher"
    QUEUED_BEHIND = "queued_behind"
    RUNNING = "running"
    IN_DOUBT = "in_doubt"
    RUN_ENDED = "run_ended"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing that keeps a step from being completed, since when, and until when if it ends."""

    kind: CauseKind
    text: str
    since: datetime | None = None
    until: datetime | None = None
    rule_id: str = ""
    step_names: tuple[str, ...] = ()
    dispatcher_id: str = ""
    ahead: int = 0


@dataclass(frozen=True, slots=True)
class Next:
    """What is to be done, or happens by itself, and the command for it: an argv, or empty."""

    sentence: str
    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ExplainedStep:
    """A step with every cause that holds, first what is to be done about first."""

    step_name: str
    status: StepStatus
    causes: tuple[Cause, ...]
    next: Next
