"""Group commit: brings the calls of one mutation together that come while a transaction is going.

It decides which calls share a transaction, and when; what is done there is `attempts.py`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from zart_server.api.mutations.attempts import Attempts
from zart_server.api.mutations.mutation import Call
from zart_server.api.outliving import Outliving

_MOST = 200  # in one transaction
# Transactions, while calls come so slowly that each has its own: none waits for another's commit.
# Where they come faster one at a time does more of them: each transaction has more in it.
_AT_ONCE = 2
_FEW = 1.5  # calls, in most transactions: they come slowly
_LATELY = 8  # transactions, of which it is known how many calls they had
_PATIENCE = 0.02  # seconds that one may hold up those after it


@dataclass(slots=True)
class _Turn:
    """Of a worker; it is over where another one has taken its place.

    ``is_held``: its transaction takes long, so that another one may work beside it.
    """

    is_over: bool = False
    is_held: bool = False


class Batched:
    """The calls of one mutation: each is by itself for its caller.

    A refused one leaves no trace, one whose execution another transaction has locked is taken out
    and waits alone, and if a batch fails before its commit each is tried alone.
    """

    def __init__(self, attempts: Attempts, outliving: Outliving) -> None:
        self._attempts = attempts
        self._outliving = outliving
        self._waiting: list[Call[Any]] = []
        self._workers = 0
        self._held = 0  # of the workers
        self._usual = 1.0  # how many calls a transaction had lately

    def add(self, call: Call[Any]) -> None:
        """Have a call done with those that come meanwhile; a lone one is done at once."""
        self._waiting.append(call)
        if self._has_room():
            self._begin()

    def _has_room(self) -> bool:
        """Return whether one more may work beside those that do."""
        is_free = self._workers == self._held or self._usual < _FEW
        return self._workers < _AT_ONCE and is_free

    def _begin(self) -> None:
        self._workers += 1
        self._outliving.keep(asyncio.create_task(self._work()))

    async def _work(self) -> None:
        turn = _Turn()
        try:
            while self._waiting and not turn.is_over:
                batch = self._take()
                loop = asyncio.get_running_loop()
                if len(batch) == 1:
                    timer = loop.call_later(_PATIENCE, self._give_up, turn)
                    await self._attempts.alone(batch[0], is_first=True)
                else:
                    timer = loop.call_later(_PATIENCE, self._help, turn)
                    await self._do(batch)
                timer.cancel()
                self._hold(turn, is_held=False)
                if self._usual >= _FEW and self._workers - self._held > 1:
                    break  # the other one goes on alone
        finally:
            self._hold(turn, is_held=False)
            if not turn.is_over:
                self._workers -= 1

    async def _do(self, batch: Sequence[Call[Any]]) -> None:
        if left := await self._attempts.together(batch):
            alone = [
                asyncio.create_task(self._attempts.alone(call, is_first=False)) for call in left
            ]
            await asyncio.wait(map(self._outliving.keep, alone), timeout=_PATIENCE)

    def _help(self, turn: _Turn) -> None:
        """Let another worker work beside one whose transaction takes long."""
        self._hold(turn, is_held=True)
        if self._waiting and self._has_room():
            self._begin()

    def _hold(self, turn: _Turn, *, is_held: bool) -> None:
        """Note whether a worker's transaction takes long."""
        self._held += is_held - turn.is_held
        turn.is_held = is_held

    def _give_up(self, turn: _Turn) -> None:
        """Let another worker go on in place of one whose only call has to wait."""
        turn.is_over = True
        self._workers -= 1
        if self._waiting:
            self._begin()

    def _take(self) -> list[Call[Any]]:
        """Take the next batch: no two about the same, or with the same request_id."""
        batch: list[Call[Any]] = []
        left: list[Call[Any]] = []
        taken: set[object] = set()
        for call in self._waiting:
            if len(batch) < _MOST and call.target not in taken and call.key not in taken:
                batch.append(call)
                taken.add(call.target)
                if call.key is not None:
                    taken.add(call.key)
            else:
                left.append(call)
        self._waiting = left
        self._usual += (len(batch) - self._usual) / _LATELY
        return batch
