"""Errors about steps and attempts: not there, or not in the state that the call is for."""

from __future__ import annotations

from datetime import datetime

from zart_server.domain.errors.base import NotFound, ZartError


class StepNotFound(NotFound):
    """The run has no step of this name."""

    reason = "STEP_NOT_FOUND"

    def __init__(self, run_id: str, step_name: str) -> None:
        super().__init__(
            f"run {run_id!r} has no step {step_name!r}", run_id=run_id, step_name=step_name
        )


class StepNotDead(ZartError):
    """Only a dead step can be retried. Without one, none of the run is, which has the status."""

    reason = "STEP_NOT_DEAD"

    def __init__(self, run_id: str, step_name: str, status: str) -> None:
        super().__init__(
            f"step {step_name!r} of run {run_id!r} is {status.upper()}, not DEAD"
            if step_name
            else f"no step of run {run_id!r} is DEAD: it is {status.upper()}",
            run_id=run_id,
            step_name=step_name,
            status=status.upper(),
        )


class StepFinished(ZartError):
    """The step has ended: an operator cannot end it again."""

    reason = "STEP_FINISHED"

    def __init__(self, run_id: str, step_name: str, status: str) -> None:
        super().__init__(
            f"step {step_name!r} of run {run_id!r} is {status.upper()} already",
            run_id=run_id,
            step_name=step_name,
            status=status.upper(),
        )


class StepRunning(ZartError):
    """The step is in flight, and the caller did not ask to fence it."""

    reason = "STEP_RUNNING"

    def __init__(self, run_id: str, step_name: str, attempt: int, dispatcher_id: str) -> None:
        super().__init__(
            f"step {step_name!r} of run {run_id!r} is in flight (attempt {attempt}, on"
            f" {dispatcher_id!r}): wait, or fence it",
            run_id=run_id,
            step_name=step_name,
            attempt=attempt,
            dispatcher_id=dispatcher_id,
        )


class StepChanged(ZartError):
    """The last attempt of the step is not the one that the caller expected.

    Without a step, one of the run has died only since a batch was planned or created.
    """

    reason = "STEP_CHANGED"

    def __init__(
        self, run_id: str, step_name: str = "", expected: int = 0, attempt: int = 0
    ) -> None:
        if not step_name:
            super().__init__(
                f"a step of run {run_id!r} died after the batch was planned or created",
                run_id=run_id,
            )
            return
        super().__init__(
            f"the last attempt of step {step_name!r} of run {run_id!r} is {attempt},"
            f" not {expected}: look again",
            run_id=run_id,
            step_name=step_name,
            expected_attempt=expected,
            attempt=attempt,
        )


class AttemptNotFound(NotFound):
    """The step has no attempt of this number."""

    reason = "ATTEMPT_NOT_FOUND"

    def __init__(self, run_id: str, step_name: str, attempt: int) -> None:
        super().__init__(
            f"step {step_name!r} of {run_id!r} has no attempt {attempt}",
            run_id=run_id,
            step_name=step_name,
            attempt=attempt,
        )


class StepInDoubt(ZartError):
    """A step would be run again although an attempt of it may have had its effect, or has."""

    reason = "STEP_IN_DOUBT"

    def __init__(
        self, run_id: str, step_name: str, attempt: int, ended_as: str, finding: str
    ) -> None:
        if finding:
            what = "was found to have happened"
        elif ended_as == "running":
            what = "is in flight, and may have happened when it is broken off"
        else:
            what = f"ended {ended_as.upper()}, and may have happened"
        super().__init__(
            f"attempt {attempt} of step {step_name!r} of {run_id} {what}: to run it again,"
            " set accept_in_doubt",
            run_id=run_id,
            step_name=step_name,
            attempt=attempt,
            ended_as=ended_as.upper(),
            finding=finding.upper(),
        )


class NotInDoubt(ZartError):
    """The attempt is not in doubt.

    ``finding``: as which it was resolved, empty if none is told, None if it never was; ``by`` whom,
    as far as that is on record, and when (``at``).
    """

    reason = "NOT_IN_DOUBT"

    def __init__(
        self,
        run_id: str,
        step_name: str,
        attempt: int,
        status: str,
        finding: str | None,
        by: str = "",
        at: datetime | None = None,
    ) -> None:
        what = f"is {status.upper()} and not in doubt"
        when = "" if at is None else at.isoformat(timespec="seconds")
        if finding is not None:
            found = f": {finding.upper()}" if finding else ""
            who = (f" by {by}" if by else "") + (f" at {when}" if when else "")
            what = f"ended {status.upper()}, and its doubt is resolved{who}{found}"
        super().__init__(
            f"attempt {attempt} of step {step_name!r} of {run_id} {what}",
            run_id=run_id,
            step_name=step_name,
            attempt=attempt,
            status=status.upper(),
            finding=(finding or "").upper(),
            resolved_by=by,
            resolved_at=when,
        )
