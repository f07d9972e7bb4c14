"""Errors that no server refused a call with: what the client itself finds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zart.errors.base import ZartError

if TYPE_CHECKING:
    from zart.models import RuleAttempt, Run


class Unreachable(ZartError):
    """No server answered, or not in time; what was asked may have happened all the same."""


class ClientClosed(ZartError):
    """The call was not sent: its client had been closed before. No repeat on it does better."""


class StepSkipped(ZartError, LookupError):
    """An operator skipped the step whose result a handler asks for."""

    def __init__(self, step_name: str) -> None:
        super().__init__(
            f"{step_name!r} was skipped by an operator and has no result: give a default,"
            " or ask ctx.skipped before"
        )
        self.step_name = step_name


class RunFailed(ZartError):
    """The run that was waited for ended FAILED or CANCELLED; ``run`` says more."""

    def __init__(self, run: Run) -> None:
        super().__init__(f"{run.run_id} ended {run.status}: {run.error or 'no error was recorded'}")
        self.run = run


class PauseViolated(ZartError):
    """Attempts were leased although a pause rule withheld them; ``attempts`` are the first."""

    def __init__(self, attempts: Sequence[RuleAttempt], *, is_lower_bound: bool) -> None:
        first = attempts[0]
        more = " or more" if is_lower_bound else ""
        super().__init__(
            f"{len(attempts)}{more} attempts were leased that the rule withheld, first of all"
            f" attempt {first.attempt} of {first.execution_id}:run:{first.run_number}"
            f"/{first.step_name}, by {first.dispatcher_id}"
        )
        self.attempts = tuple(attempts)


class PauseUnproven(ZartError):
    """A receipt lists no violation, and is not clean all the same: nobody can know."""


class NotPlanned(ZartError):
    """A plan was asked for, and the server's answer does not say that it is one.

    A server that does not know plans does what it is asked for: by ``request_id`` its record says
    whether it did. ``answer`` is what it answered.
    """

    def __init__(self, answer: object) -> None:
        super().__init__(
            "the server did not say that it only planned: it is older than its caller, and may have"
            " done what it was asked for; look before you repeat it"
        )
        self.answer = answer
