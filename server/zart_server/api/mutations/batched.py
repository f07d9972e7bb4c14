"""Group commit: brings the calls of one mutation together that come while a transaction is going.

When a call is done, and with which others, is `turns.py`'s; what is done in a transaction is
`runner.py`'s.
"""

from __future__ import annotations

import asyncio
from typing import Any

from zart_server.api.mutations.mutation import Call
from zart_server.api.mutations.runner import MutationRunner
from zart_server.api.outliving import Outliving
from zart_server.api.turns import PATIENCE, Turn, Turns

_MOST = 200  # in one transaction
_BYTES = 8 * 1024 * 1024  # of requests in one transaction: it takes a while, each waits for all
_STEP = _BYTES // 10_000  # that each step weighs besides: so many may one call have


class Batched:
    """The calls of one mutation: each is by itself for its caller.

    A refused one leaves no trace, one whose execution another transaction has locked is taken out
    and waits alone, and if a batch fails before its commit each is tried alone.
    """

    def __init__(self, runner: MutationRunner, outliving: Outliving) -> None:
        self._runner = runner
        self._outliving = outliving
        # Each transaction has a connection of the pool, which others need, too: few may take long.
        self._turns = Turns[Call[Any]](
            _MOST,
            self._do,
            outliving,
            counts_slow=True,
            weigh=lambda call: call.size + call.steps * _STEP,
            heaviest=_BYTES,
        )

    def add(self, call: Call[Any]) -> None:
        """Have a call done with those that come meanwhile; a lone one is done at once."""
        self._turns.add(call)

    async def _do(self, turn: Turn[Call[Any]]) -> None:
        calls = turn.calls
        if len(calls) == 1:
            await self._runner.alone(calls[0], is_first=True)
        elif left := await self._runner.together(calls):
            alone = [asyncio.create_task(self._runner.alone(call, is_first=False)) for call in left]
            await asyncio.wait(map(self._outliving.keep, alone), timeout=PATIENCE)
