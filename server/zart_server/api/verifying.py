"""Verifies pause rules: reads what was leased while a rule stood, piece by piece.

Each piece is a short transaction of its own, so that no snapshot keeps dead rows alive, and all
verifications of a server together read one piece at a time: they take turns, and leave the rest of
the connections to others. Nobody is waited for when the caller leaves: its task is cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from zart_server.api.reading import Reading
from zart_server.domain.receipts import Receipt, ReceiptGap
from zart_server.store.connection import Tx
from zart_server.store.reads import receipt_windows, receipts

STEPS = 20_000  # of a piece, which takes some 20 ms
_RUNS = 50_000  # that are looked at in a transaction


class Verifying:
    """The verifications of one server."""

    def __init__(self, reading: Reading, steps: int = STEPS) -> None:
        self._reading = reading
        self._steps = steps
        self._turn = asyncio.Lock()

    async def verify(self, rule_id: str) -> Receipt:
        """Return the receipt of a rule. Raises PauseRuleNotFound."""
        async with self._a_turn() as tx:
            window = await receipt_windows.read_window(tx, rule_id)
            last_run = await receipt_windows.last_run_of(tx, window)
        receipt = Receipt(window)
        if window.token_from is None or window.token_until is None:
            receipt.gaps = (ReceiptGap.OLDER_SERVER,)
            return receipt
        await self._read(receipt, last_run)
        async with self._a_turn(receipts.HASHED) as tx:
            receipt.last_before = await receipts.name_seen(tx, receipt.seen_before)
            receipt.first_after = await receipts.name_seen(tx, receipt.seen_after)
            # Last of all: what is gone by then may not have been read.
            receipt.gaps = await receipt_windows.find_gaps(tx, window)
        return receipt

    async def _read(self, receipt: Receipt, last_run: int) -> None:
        after = 0
        while after < last_run:
            async with self._a_turn() as tx:
                found = await receipt_windows.find_spans(tx, receipt.window, after, last_run, _RUNS)
            for first, last in found.spans:
                await self._judge(receipt, first, last)
            after = found.until

    async def _judge(self, receipt: Receipt, first: int, last: int) -> None:
        """Judge the steps of a span of runs."""
        at, is_last = (first, -1), False
        while not is_last:
            async with self._a_turn(receipts.HASHED) as tx:
                piece = await receipts.judge_steps(tx, receipt.window, at, last, self._steps)
            receipt.add(piece)
            at, is_last = piece.upto, piece.is_last

    @contextlib.asynccontextmanager
    async def _a_turn(self, first: str = "") -> AsyncIterator[Tx]:
        """Open a transaction when it is this verification's turn."""
        async with self._turn, self._reading.transaction(first=first) as tx:
            yield tx
