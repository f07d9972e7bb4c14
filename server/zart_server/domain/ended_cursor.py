"""How far a walk through finished executions has come: by task, of each status the oldest first.

Written as names and numbers, in a page token or in a row, it is good for as long as that is kept:
what it stands behind may be gone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from zart_server.domain.model import RunStatus

_BEGIN = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_EACH = 3  # names and numbers of a status


class Position(NamedTuple):
    """Where an execution stands among those of its task and status, the oldest first."""

    created_at: datetime = _BEGIN
    execution_key: int = 0


@dataclass(frozen=True, slots=True)
class EndedCursor:
    """How far that is. ``after``: of which statuses of the task more may follow, and after which.

    Where it is empty the task is gone through, and the next one by name follows.
    """

    task_name: str = ""
    after: Mapping[RunStatus, Position] = field(default_factory=dict)

    def to_positions(self) -> tuple[int | str, ...]:
        """Write it as names, and numbers that are not negative."""
        written: list[int | str] = [self.task_name]
        for status, (created_at, execution_key) in self.after.items():
            written += status.value, (created_at - _BEGIN) // _MICROSECOND, execution_key
        return tuple(written)

    @classmethod
    def of_positions(cls, positions: Sequence[int | str]) -> EndedCursor:
        """Read it. Raises ValueError for what was not written by ``to_positions``."""
        task_name, *rest = positions
        after = {}
        for at in range(0, len(rest), _EACH):
            match rest[at : at + _EACH]:
                case [str() as status, int() as microseconds, int() as execution_key]:
                    position = Position(_time_of(microseconds), execution_key)
                    after[RunStatus(status)] = position
                case _:
                    raise ValueError(positions)
        if not isinstance(task_name, str) or not all(status.is_finished for status in after):
            raise ValueError(positions)
        return cls(task_name, after)


FROM_THE_OLDEST = EndedCursor()


def _time_of(microseconds: int) -> datetime:
    try:
        return _BEGIN + timedelta(microseconds=microseconds)
    except OverflowError:
        raise ValueError(microseconds) from None
