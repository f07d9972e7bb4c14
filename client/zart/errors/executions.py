"""Errors about executions, their runs, and what they are found by: task, error group."""

from __future__ import annotations

from zart.errors.base import NotFound, Refused


class ExecutionNotFound(NotFound):
    """No execution has this id."""

    reason = "EXECUTION_NOT_FOUND"


class ExecutionExists(Refused):
    """The execution id is taken."""

    reason = "EXECUTION_EXISTS"


class RunNotFound(NotFound):
    """The execution has no run of this number."""

    reason = "RUN_NOT_FOUND"


class RunNotCurrent(Refused):
    """The run named was superseded."""

    reason = "RUN_NOT_CURRENT"


class RunChanged(Refused):
    """The current run is not the one that was expected."""

    reason = "RUN_CHANGED"


class RunActive(Refused):
    """The current run is unfinished and the call asked to refuse then."""

    reason = "RUN_ACTIVE"


class RunFinished(Refused):
    """The run is finished."""

    reason = "RUN_FINISHED"


class NothingToRerun(Refused):
    """Every step would be preserved."""

    reason = "NOTHING_TO_RERUN"


class TaskDefinitionNotFound(NotFound):
    """No definition is registered for this task, or not this version."""

    reason = "TASK_DEFINITION_NOT_FOUND"


class ErrorGroupNotFound(NotFound):
    """No error of this group was ever seen."""

    reason = "ERROR_GROUP_NOT_FOUND"
