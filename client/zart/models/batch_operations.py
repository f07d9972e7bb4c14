"""The operations that a batch can do to each of its items."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from zart.models.json_value import Json
from zart.models.statuses import IfRunning


class _Same:
    """Stands for the payload, or the input, that there was before."""

    def __repr__(self) -> str:
        return "SAME"

    def __reduce__(self) -> str:
        return "SAME"  # a copy of it, in another process too, is this very one


SAME: Final = _Same()


@dataclass(frozen=True)
class BatchOperation:
    """What is done to each item of a batch: such as ``RetryStep()``."""


@dataclass(frozen=True)
class RetryStep(BatchOperation):
    """Retry the dead steps of each execution. ``max_attempts`` None: as their definitions say."""

    max_attempts: int | None = None
    accept_in_doubt: bool = False
    input: Json | _Same = SAME


@dataclass(frozen=True)
class Restart(BatchOperation):
    """Restart each execution. One that is unfinished is refused, unless it is to be superseded."""

    payload: Json | _Same = SAME
    if_running: IfRunning | str = IfRunning.FAIL
    accept_in_doubt: bool = False


@dataclass(frozen=True)
class Rerun(BatchOperation):
    """Rerun each execution. One that is unfinished is refused, unless it is to be superseded."""

    force_rerun: Iterable[str] = field(default=())
    preserve: Iterable[str] = field(default=())
    include_downstream: bool = False
    if_running: IfRunning | str = IfRunning.FAIL
    accept_in_doubt: bool = False


@dataclass(frozen=True)
class CancelExecution(BatchOperation):
    """Cancel each execution."""


@dataclass(frozen=True)
class CompleteStep(BatchOperation):
    """Complete the steps that a filter matches with a result; ``skip``: skip them.

    ``fence``: also those that are RUNNING.
    """

    result: Json | _Same = SAME
    skip: bool = False
    fence: bool = False


@dataclass(frozen=True)
class FailStep(BatchOperation):
    """Fail the steps that a filter matches. ``fence``: also those that are RUNNING."""

    message: str
    fence: bool = False
