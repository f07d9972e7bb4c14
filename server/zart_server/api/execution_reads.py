"""Reads executions for GetExecution: what is asked for at once is read together.

A call that comes alone is read at once. Those that come while reads are under way are the next one:
one statement on one connection for all of them, of which each execution is read as of one moment
that is no earlier than its call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from zart_server.api.reading import Reading
from zart_server.domain.commands import ExecutionView
from zart_server.domain.errors import StoreUnavailable
from zart_server.store import reads

_MOST = 8  # in one statement: each may have results of 4 MiB
# Reads, while calls come so slowly that each has its own: none waits for another's. Where they come
# faster one at a time does more of them: each has more calls.
_AT_ONCE = 2
_FEW = 1.5  # calls, in most reads: they come slowly
_LATELY = 8  # reads, of which it is known how many calls they had
_PATIENCE = 0.02  # seconds that one may hold up those after it


@dataclass(eq=False, slots=True)
class _Asked:
    """A call that waits. Its caller's leaving cancels ``view``."""

    execution_id: str
    run_number: int | None
    view: asyncio.Future[ExecutionView] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


@dataclass(eq=False, slots=True)
class _Turn:
    """Of a read. It is over when the read is, or when it has held up others for long enough."""

    timer: asyncio.TimerHandle | None = None
    is_over: bool = False


class ExecutionReads:
    """The reads of executions of one server."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._waiting: list[_Asked] = []
        self._turns = 0
        self._usual = 1.0  # how many calls a read had lately
        self._running: set[asyncio.Task[None]] = set()

    async def get(self, execution_id: str, run_number: int | None) -> ExecutionView:
        """Read an execution, a run (None: the current one) and its steps, as of one moment.

        Raises as ``reads.get_execution`` and ``Reading.connection`` do.
        """
        if self._has_room():
            turn = self._begin(1)
            try:
                async with self._reading.connection() as connection:
                    return await reads.get_execution(connection, execution_id, run_number)
            finally:
                self._end(turn)
        asked = _Asked(execution_id, run_number)
        self._waiting.append(asked)
        return await asked.view

    def _has_room(self) -> bool:
        """Return whether there may be one more read beside those under way."""
        return not self._turns or (self._usual < _FEW and self._turns < _AT_ONCE)

    def _begin(self, calls: int) -> _Turn:
        self._turns += 1
        self._usual += (calls - self._usual) / _LATELY
        turn = _Turn()
        turn.timer = asyncio.get_running_loop().call_later(_PATIENCE, self._end, turn)
        return turn

    def _end(self, turn: _Turn) -> None:
        """Read what those that wait asked for next; once for each turn."""
        if turn.is_over:
            return
        turn.is_over = True
        if turn.timer is not None:
            turn.timer.cancel()
        self._turns -= 1
        if self._has_room() and (batch := self._take()):
            self._start(batch)

    def _start(self, batch: Sequence[_Asked]) -> None:
        task = asyncio.create_task(self._read(batch, self._begin(len(batch))))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def _take(self) -> list[_Asked]:
        """Take the next that wait: none twice, since no statement reads a run twice."""
        batch: dict[str, _Asked] = {}
        left: list[_Asked] = []
        for asked in self._waiting:
            if asked.view.done():
                continue
            if len(batch) < _MOST and asked.execution_id not in batch:
                batch[asked.execution_id] = asked
            else:
                left.append(asked)
        self._waiting = left
        return list(batch.values())

    async def _read(self, batch: Sequence[_Asked], turn: _Turn) -> None:
        """Settle each call of a batch; if it fails as a whole, each is read alone."""
        found: Sequence[ExecutionView | Exception]
        try:
            async with self._reading.connection() as connection:
                wanted = [(asked.execution_id, asked.run_number) for asked in batch]
                found = await reads.get_executions(connection, wanted)
        except Exception as error:  # noqa: BLE001 - it is the callers'
            if len(batch) > 1 and not isinstance(error, StoreUnavailable):
                for asked in batch:
                    self._start([asked])
                return
            found = [error] * len(batch)
        finally:
            self._end(turn)
        for asked, view in zip(batch, found, strict=True):
            if asked.view.done():
                continue
            if isinstance(view, Exception):
                asked.view.set_exception(view)
            else:
                asked.view.set_result(view)
