"""Does the items of batches, on any server: one piece of each after the other.

Each piece is a transaction of the server that has the batch's advisory lock. What a server knows
besides, such as how far it has come, saves it looking; another one finds it out. As long as nothing
else is leased, one piece follows the other; beside other work, a rest that is as long: whatever
somebody asks of many executions takes at most half of one connection's time, of each server that
works on batches.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from dataclasses import dataclass, field

from zart_server.domain.errors import OperationTimeout, StoreConflict, StoreUnavailable, ZartError
from zart_server.domain.operations import Refusal
from zart_server.engine.background.batch_judging import DeadAgain, Judged, count_on
from zart_server.engine.background.batch_work import (
    Asked,
    ItemFailed,
    OnDone,
    Progress,
    work_on,
)
from zart_server.engine.background.loop import BackgroundLoop
from zart_server.engine.operations.prepare_batch import RefusalOf
from zart_server.store.batches.states import batches_at_work
from zart_server.store.db import Database

_log = logging.getLogger(__name__)
_TICK = 1.0  # seconds between two looks for batches
_MOST = 250  # items in a piece
_PREPARED = 5_000  # executions in a piece that is being prepared
_AT_ONCE = 100  # batches of which a piece is done before there is another look
_LONG = 0.25  # seconds that a piece may take; then the next is a smaller one
_SHORTEST = 0.02  # seconds between two pieces of a batch that has a pace
_REST = 1.0  # times as long as the pieces of a turn took
_LONGEST_REST = 0.5  # seconds
_CREDIT_LASTS = 0.9  # seconds between two pieces, so that a pace is kept: it saves up one second's
_LOCKED = 0.1  # seconds until what was locked is tried again
_DEFECTS = 2  # times that an item fails as nothing should: once more than may be by chance
_SLOW = 3  # times that an item takes too long alone: the database may have been slow for minutes
_TOO_LONG = 30.0  # seconds, whatever ended it then: nothing that is locked is waited for so long
_JUDGE_EVERY, _JUDGE_SHARE = 1.0, 10.0
_DEFECT = Refusal("INTERNAL", "INTERNAL", "a defect: see the servers' logs", {})
_TOO_SLOW = Refusal(
    OperationTimeout.reason,
    "DEADLINE_EXCEEDED",
    f"it took too long each of {_SLOW} times, and nothing was done: see ZART_STATEMENT_TIMEOUT",
    {},
)


@dataclass(slots=True)
class _Here:
    """What this server knows of a batch that it works on."""

    last_item: int = 0
    left: int = 0  # that are to be tried again, since it began from the first of them
    limit: int = _MOST
    executions: int = _PREPARED
    not_before: float = 0.0
    judge_at: float = 0.0
    dead_again: DeadAgain = field(default_factory=DeadAgain)
    judged: Judged | None = None  # by the last count
    failed: int = 0  # times that one item, or what is being prepared, failed as nothing should
    failed_item: int | None = None  # which; None: what is being prepared
    refusal: Refusal | None = None  # for which that is refused if it is alone in the next piece
    slow: Counter[int] = field(default_factory=Counter)  # times that items took too long alone
    has_pace: bool = False


def rest_after(worked: float, paced_for: float | None = None) -> float:
    """Return the seconds to rest after pieces that took so many, beside other work.

    ``paced_for``: seconds since the first of them began, if any of the batches has a pace.
    """
    rest = min(worked * _REST, _LONGEST_REST)
    return rest if paced_for is None else min(rest, max(0.0, _CREDIT_LASTS - paced_for))


class Batches(BackgroundLoop):
    """The batches as one server works on them. ``refusal_of``: how errors are told.

    ``on_done`` is told what pieces have come to, of batches that belong to a trace.
    """

    def __init__(self, db: Database, refusal_of: RefusalOf) -> None:
        super().__init__("working on batches", first=_TICK)
        self._db = db
        self._refusal_of = refusal_of
        self.on_done: OnDone | None = None
        self._here: dict[int, _Here] = {}
        self._last_key = 0  # of the batches of the last look, if there were others
        self._token = 0  # the last lease token that was seen at the last look
        self._rest = 0.0  # seconds, after the pieces of the last turn
        self._rests_until = 0.0
        self._told = 0.0  # seconds of this turn in which ``on_done`` was told

    async def turn(self) -> float:
        """Do a piece of each batch whose turn it is; return the seconds until the next look."""
        async with self._db.autocommit() as connection:
            keys, token = await batches_at_work(connection, self._last_key, _AT_ONCE)
        is_beside_others, self._token = 0 < self._token < token, token
        if len(keys) < _AT_ONCE:  # these are all there are
            self._last_key = 0
            self._here = {key: self._here.get(key) or _Here() for key in keys}
        else:
            self._last_key = keys[-1]
        looked_at = [self._here.setdefault(key, _Here()) for key in keys]
        begun = time.monotonic()
        if begun >= self._rests_until:
            self._told = 0.0
            for key, here in zip(keys, looked_at, strict=True):
                if here.not_before <= time.monotonic():
                    await self._go_on_apart(key, here)
            now = time.monotonic()
            self._rest = 0.0
            if is_beside_others:
                gone = now - begun
                has_pace = any(here.has_pace for here in looked_at)
                self._rest = rest_after(gone - self._told, gone if has_pace else None)
            self._rests_until = now + self._rest
        rest = self._rests_until - time.monotonic()
        if self._last_key:
            return max(_SHORTEST, rest)
        now = time.monotonic()
        waits = [here.not_before - now for here in looked_at]
        return min(max(min(waits, default=_TICK), rest, 0.0), _TICK)

    async def _go_on_apart(self, key: int, here: _Here) -> None:
        """Do one piece of a batch; what is wrong with it keeps no other one waiting."""
        try:
            await self._go_on(key, here)
        except ZartError as error:
            self.count(error)
            _log.warning("a batch has to wait: %s", error.message)
        except Exception as error:  # noqa: BLE001 - told in full; it goes on
            self.count(error)
            _log.exception("working on a batch failed; it goes on")

    async def _go_on(self, key: int, here: _Here) -> None:
        """Do one piece of a batch, and note when the next is to be done."""
        begun = time.monotonic()
        try:
            if begun >= here.judge_at and not await self._judge(key, here):
                return
            asked = Asked(
                here.last_item,
                here.limit,
                here.executions,
                here.judged,
                here.refusal,
                here.failed_item,
            )
            begun = time.monotonic()  # of the piece
            progress = await work_on(self._db, key, asked, self._refusal_of)
        except Exception as error:
            item, why = (
                (error.item_no, error.why) if isinstance(error, ItemFailed) else (None, error)
            )
            if not isinstance(why, ZartError):
                self._note_defect(here, item)
                raise
            self._note_failure(here, item, why, time.monotonic() - begun)
            if isinstance(why, (StoreConflict, OperationTimeout)):
                return
            raise why from None
        now = time.monotonic()
        if progress is None or progress.is_over:
            here.not_before = now + _TICK
            if progress is not None:  # resumed in a moment, it is judged by another count
                here.judged, here.judge_at = None, 0.0
        else:
            self._note(here, progress, now - begun)
        if progress is not None and progress.traced is not None and self.on_done is not None:
            try:
                await self.on_done(progress.traced)
            finally:
                self._told += time.monotonic() - now

    async def _judge(self, key: int, here: _Here) -> bool:
        """Count some of a batch's failures; return whether that is all of them.

        Until then nothing of it is done here, and what could not be counted is tried again.
        """
        try:
            judged = await count_on(self._db, key, here.dead_again)
        except (StoreConflict, OperationTimeout) as error:
            self.count(error)
            _log.warning("a batch waits until its failures can be counted: %s", error.message)
            here.dead_again.limit = max(1, here.dead_again.limit // 4)
            here.not_before = time.monotonic() + _TICK
            return False
        if judged is None:
            return False
        here.judged = judged
        here.judge_at = time.monotonic() + max(_JUDGE_EVERY, judged.seconds * _JUDGE_SHARE)
        return True

    @staticmethod
    def _note_defect(here: _Here, item: int | None) -> None:
        """Note that something failed as nothing should: in pieces of one item, of which."""
        if here.limit == 1:
            here.failed = here.failed + 1 if item == here.failed_item else 1
            here.failed_item = item
            here.refusal = _DEFECT if here.failed >= _DEFECTS else None
        here.limit = max(1, here.limit // 4)
        here.not_before = time.monotonic() + _LOCKED

    def _note_failure(self, here: _Here, item: int | None, why: ZartError, took: float) -> None:
        """Note that others were in the way, that it took too long, or that the database is gone.

        Fewer at a time get through. An ``item`` that does not even alone is gone past, and tried
        again after the others: for ever where others are in the way, or refused in the end.
        """
        is_known = isinstance(why, (StoreConflict, OperationTimeout))
        here.not_before = time.monotonic() + (_LOCKED if is_known else _TICK)
        if item is None:
            # PostgreSQL may also have ended it, having heard nothing of it for too long.
            if is_known or isinstance(why, StoreUnavailable):
                self._lessen(here)
            return
        if isinstance(why, OperationTimeout) or (
            isinstance(why, StoreConflict) and took > _TOO_LONG
        ):
            here.slow[item] += 1
            _log.warning("item %d of a batch took too long (%d)", item, here.slow[item])
            if here.slow[item] >= _SLOW:
                here.refusal, here.failed_item, here.limit = _TOO_SLOW, item, 1
                return
        here.last_item = item
        here.left += 1

    @staticmethod
    def _lessen(here: _Here) -> None:
        """Have the next piece be a smaller one; those that get through are larger again."""
        here.limit = max(1, here.limit // 4)
        here.executions = max(1, here.executions // 4)

    def _note(self, here: _Here, progress: Progress, took: float) -> None:
        """Note what a piece came to."""
        now = time.monotonic()
        if progress.is_unjudged:
            here.judge_at = 0.0
            return
        here.judged = progress.judged or here.judged
        here.has_pace = progress.has_pace
        if progress.wait:
            # Its pace may be another one by then: it is looked at again in a moment.
            here.not_before = now + min(max(progress.wait, _SHORTEST), _TICK)
            return
        here.not_before = now
        here.failed, here.refusal = 0, None
        if progress.is_preparing:
            if took <= _LONG:
                here.executions = min(_PREPARED, here.executions * 2)
            return
        here.last_item = progress.last_item
        here.left += progress.left
        if took > _LONG:
            here.limit = max(1, here.limit // 2)
        elif progress.passed:
            here.limit = min(_MOST, here.limit * 2)
        if not here.last_item:  # it begins from the first again: only what was locked is left
            here.not_before = now + (_LOCKED if here.left else 0.0)
            here.left = 0
