"""Errors about steps and attempts: not there, or not in the state that the call is for."""

from __future__ import annotations

from zart.errors.base import NotFound, Refused


class StepNotFound(NotFound):
    """The run has no step of this name."""

    reason = "STEP_NOT_FOUND"


class StepNotDead(Refused):
    """Only a dead step can be retried."""

    reason = "STEP_NOT_DEAD"


class StepFinished(Refused):
    """The step has ended already: it cannot be ended by hand."""

    reason = "STEP_FINISHED"


class StepRunning(Refused):
    """The step is in flight, and the call did not ask to fence it."""

    reason = "STEP_RUNNING"


class StepChanged(Refused):
    """The last attempt of the step is not the one that was expected."""

    reason = "STEP_CHANGED"


class AttemptNotFound(NotFound):
    """The step has no attempt of this number."""

    reason = "ATTEMPT_NOT_FOUND"


class StepInDoubt(Refused):
    """A step would be run again although an attempt of it may have had its effect, or has."""

    reason = "STEP_IN_DOUBT"


class NotInDoubt(Refused):
    """The attempt is not in doubt, or no longer."""

    reason = "NOT_IN_DOUBT"
