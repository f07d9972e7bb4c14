"""Work in Python amid a transaction: PostgreSQL, which ends one that is silent, hears of it.

See ``IDLE_IN_TRANSACTION`` in ``store.sessions``: for how long it may be silent.
"""

from __future__ import annotations

import time

from zart_server.store.connection import Tx


class Heard:
    """Sends a word where so many ``seconds`` have passed since the last, or since this was made."""

    def __init__(self, tx: Tx, seconds: float) -> None:
        self._tx = tx
        self._seconds = seconds
        self._since = time.monotonic()

    async def again(self) -> None:
        """Send a word if it is time to: called between two parts of the work, none of them long."""
        if time.monotonic() - self._since > self._seconds:
            await _send_a_word(self._tx)
            self._since = time.monotonic()


async def _send_a_word(tx: Tx) -> None:
    """Ask for nothing."""
    await tx.execute("SELECT")
