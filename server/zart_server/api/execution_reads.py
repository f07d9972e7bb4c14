"""Reads executions for GetExecution: what is asked for at once is read together.

A call that comes alone is read at once. Those that come while reads are under way are the next one:
one statement on one connection for all of them, of which each execution is read as of one moment
that is no earlier than its call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from zart_server.api.outliving import Outliving
from zart_server.api.reading import Reading
from zart_server.api.turns import Turn, Turns
from zart_server.domain.commands import ExecutionView
from zart_server.domain.errors import StoreUnavailable
from zart_server.store import reads

_MOST = 8  # in one statement: each may have results of 4 MiB


@dataclass(eq=False, slots=True)
class _Asked:
    """A call that waits. Its caller's leaving cancels ``done``."""

    execution_id: str
    run_number: int | None
    done: asyncio.Future[ExecutionView] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    @property
    def names(self) -> Sequence[str]:
        """What it reads: no statement reads a run twice."""
        return (self.execution_id,)

    def settle(self, view: ExecutionView | Exception) -> None:
        """Answer the caller, if it still waits."""
        if self.done.done():
            return
        if isinstance(view, Exception):
            self.done.set_exception(view)
        else:
            self.done.set_result(view)


class ExecutionReads:
    """The reads of executions of one server."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._turns = Turns[_Asked](_MOST, self._read, Outliving())

    async def get(self, execution_id: str, run_number: int | None) -> ExecutionView:
        """Read an execution, a run (None: the current one) and its steps, as of one moment.

        Raises as ``reads.get_execution`` and ``Reading.connection`` do.
        """
        turn = self._turns.begin_alone()
        if turn is None:
            asked = _Asked(execution_id, run_number)
            self._turns.add(asked)
            return await asked.done
        try:
            return await self._view(execution_id, run_number)
        finally:
            self._turns.end(turn)

    async def _read(self, turn: Turn[_Asked]) -> None:
        """Settle each call of a turn; if they fail as a whole, each is read alone."""
        calls = turn.calls
        found: Sequence[ExecutionView | Exception]
        try:
            async with self._reading.connection() as connection:
                wanted = [(asked.execution_id, asked.run_number) for asked in calls]
                found = await reads.get_executions(connection, wanted)
        except Exception as error:  # noqa: BLE001 - it is the callers'
            if len(calls) > 1 and not isinstance(error, StoreUnavailable):
                await asyncio.gather(*map(self._read_alone, calls))
                return
            found = [error] * len(calls)
        self._turns.end(turn)  # the next one is under way while these are answered
        for asked, view in zip(calls, found, strict=True):
            asked.settle(view)

    async def _read_alone(self, asked: _Asked) -> None:
        try:
            asked.settle(await self._view(asked.execution_id, asked.run_number))
        except Exception as error:  # noqa: BLE001 - it is the caller's
            asked.settle(error)

    async def _view(self, execution_id: str, run_number: int | None) -> ExecutionView:
        async with self._reading.connection() as connection:
            return await reads.get_execution(connection, execution_id, run_number)
