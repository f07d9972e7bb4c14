"""Tells the execution that has an id from those that had it before: it is free after a removal."""

from __future__ import annotations

from typing import Protocol

from google.rpc import code_pb2, status_pb2

from zart.errors import ExecutionNotFound


class _Execution(Protocol):
    """An execution, as a message or as a model: none with its id began when it did."""

    @property
    def execution_id(self) -> str: ...
    @property
    def created_at(self) -> object: ...


def check_same(first: _Execution, now: _Execution) -> None:
    """Raise ExecutionNotFound for another execution, which began under the id of the first one."""
    if now.created_at != first.created_at:
        raise removed_meanwhile(first.execution_id)


def removed_meanwhile(execution_id: str) -> ExecutionNotFound:
    """Return what says that an execution was removed before all of it was read."""
    message = f"execution {execution_id!r} was removed meanwhile"
    return ExecutionNotFound(status_pb2.Status(code=code_pb2.NOT_FOUND, message=message))


class FormerOperations:
    """Finds where the operations on an id, newest first, are those of an execution before.

    That is told by its run: its start may be gone by then, as the oldest operations are removed
    first. What is of no run and older than the last start, as a pause rule that exempts what is
    still to come, may have been done for either.
    """

    def __init__(self) -> None:
        self._is_started = False
        self._is_reached = False

    def reached(self, *, is_start: bool, is_of_run: bool) -> bool:
        """Take the next operation, and return whether it, or one before, is of a former one."""
        self._is_reached = self._is_reached or (self._is_started and is_of_run)
        self._is_started = self._is_started or is_start
        return self._is_reached
