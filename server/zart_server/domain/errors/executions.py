"""Errors about executions, their runs, and what they are found by: task, error group."""

from __future__ import annotations

from datetime import datetime

from zart_server.domain.errors.base import NotFound, ZartError


class ExecutionNotFound(NotFound):
    """No execution has this id; or had it when a batch was planned or created, but has since.

    ``began_at``: since when, by the database's clock, which may have been set back meanwhile.
    """

    reason = "EXECUTION_NOT_FOUND"

    def __init__(self, execution_id: str, began_at: datetime | None = None) -> None:
        if began_at is None:
            super().__init__(f"no execution {execution_id!r}", execution_id=execution_id)
        else:
            began = began_at.isoformat()
            super().__init__(
                f"execution {execution_id!r} began at {began},"
                " after the batch was planned or created",
                execution_id=execution_id,
                began_at=began,
            )


class ExecutionExists(ZartError):
    """The execution id is taken."""

    reason = "EXECUTION_EXISTS"

    def __init__(self, execution_id: str, task_name: str) -> None:
        super().__init__(
            f"execution {execution_id!r} exists, of task {task_name!r}",
            execution_id=execution_id,
            task_name=task_name,
        )


class RunNotFound(NotFound):
    """The execution has no run of this number."""

    reason = "RUN_NOT_FOUND"

    def __init__(self, execution_id: str, run_number: int) -> None:
        super().__init__(
            f"execution {execution_id!r} has no run {run_number}",
            execution_id=execution_id,
            run_number=run_number,
        )


class RunNotCurrent(ZartError):
    """The run named was superseded."""

    reason = "RUN_NOT_CURRENT"

    def __init__(self, run_id: str, current_run_number: int) -> None:
        super().__init__(
            f"run {run_id!r} is not current: run {current_run_number} is",
            run_id=run_id,
            current_run_number=current_run_number,
        )


class RunChanged(ZartError):
    """The current run is not the one that the caller expected."""

    reason = "RUN_CHANGED"

    def __init__(self, execution_id: str, expected: int, current: int) -> None:
        super().__init__(
            f"the current run of {execution_id!r} is {current}, not {expected}: look again",
            execution_id=execution_id,
            expected_run_number=expected,
            current_run_number=current,
        )


class RunActive(ZartError):
    """The current run is unfinished and the caller asked to refuse then."""

    reason = "RUN_ACTIVE"

    def __init__(self, run_id: str, status: str) -> None:
        super().__init__(
            f"run {run_id!r} is {status.upper()}: wait, cancel it, or ask to supersede it",
            run_id=run_id,
            status=status.upper(),
        )


class RunFinished(ZartError):
    """The run is finished."""

    reason = "RUN_FINISHED"

    def __init__(self, run_id: str, status: str) -> None:
        super().__init__(
            f"run {run_id!r} is {status.upper()}", run_id=run_id, status=status.upper()
        )


class NothingToRerun(ZartError):
    """Every step would be preserved."""

    reason = "NOTHING_TO_RERUN"

    def __init__(self, run_id: str) -> None:
        super().__init__(
            f"every step of run {run_id!r} is completed: name steps in force_rerun", run_id=run_id
        )


class TaskDefinitionNotFound(NotFound):
    """No definition is registered for this task, or not this version."""

    reason = "TASK_DEFINITION_NOT_FOUND"

    def __init__(self, task_name: str, version: int | None = None) -> None:
        if version is None:
            super().__init__(
                f"no definition of task {task_name!r}: start its dispatcher, or send steps",
                task_name=task_name,
            )
        else:
            super().__init__(
                f"task {task_name!r} has no version {version}", task_name=task_name, version=version
            )


class ErrorGroupNotFound(NotFound):
    """No error of this group was ever seen."""

    reason = "ERROR_GROUP_NOT_FOUND"

    def __init__(self, error_group_id: str) -> None:
        super().__init__(f"no error group {error_group_id!r}", error_group_id=error_group_id)
