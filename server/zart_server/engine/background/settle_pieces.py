"""Pauses the queued tasks of a settling rule piece by piece; a server remembers how far it came."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from zart_server.store.connection import Tx
from zart_server.store.pausing.rules import share_pause_lock
from zart_server.store.pausing.settling import (
    ReleasedAt,
    is_any_queued,
    settle_lane,
    settle_released,
)
from zart_server.store.queue import LaneCursor

_BATCH = 500
_LARGEST_LOOK = 20_000  # attempts, of which none is queued


class SettleSweep(Protocol):
    """How far the settling of a rule has come.

    ``is_missed``: tasks were passed over, as another transaction had locked them.
    """

    is_missed: bool

    @property
    def is_at_end(self) -> bool:
        """Whether everything was looked at."""

    async def piece(self, tx: Tx, rule_key: int) -> None:
        """Pause what is to be paused of the next tasks; shares the pause lock for that."""

    def committed(self) -> None:
        """Go on behind the piece: it is committed."""


@dataclass(slots=True)
class LaneSweep:
    """The settling of a whole rule: the lanes left, and a cursor in the first of them."""

    lanes: list[int]
    is_missed: bool = False
    _after: LaneCursor | None = None
    _end: LaneCursor | None = None
    _left: int = 0

    @property
    def is_at_end(self) -> bool:
        """Whether every lane was looked at."""
        return not self.lanes

    async def piece(self, tx: Tx, rule_key: int) -> None:
        """Look at the next tasks of the first lane."""
        await share_pause_lock(tx)
        self._left, self._end = await settle_lane(tx, rule_key, self.lanes[0], self._after, _BATCH)

    def committed(self) -> None:
        """Go on behind them, or with the next lane."""
        self.is_missed = self.is_missed or self._left > 0
        self._after = self._end
        if self._end is None:
            self.lanes.pop(0)


@dataclass(slots=True)
class ReleasedSweep:
    """The settling of what a rule had released and took back.

    Most of what it had released was leased long ago: that is gone through fast, and without the
    pause lock.
    """

    is_missed: bool = False
    is_at_end: bool = False
    _after: ReleasedAt | None = None
    _end: ReleasedAt | None = None
    _left: int = 0
    _looks_at: int = _BATCH

    async def piece(self, tx: Tx, rule_key: int) -> None:
        """Look at the next attempts that it had released."""
        is_any, self._end = await is_any_queued(tx, rule_key, self._after, self._looks_at)
        self._left, self._looks_at = 0, min(2 * self._looks_at, _LARGEST_LOOK)
        if is_any:
            self._looks_at = _BATCH
            await share_pause_lock(tx)
            self._left, self._end = await settle_released(tx, rule_key, self._after, _BATCH)

    def committed(self) -> None:
        """Go on behind them."""
        self.is_missed = self.is_missed or self._left > 0
        self._after, self.is_at_end = self._end, self._end is None
