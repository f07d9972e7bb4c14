"""Keeps mutations on record that were refused or only planned, in a transaction of their own.

The caller has its answer by then, and never waits for the record. It is kept as well as may be: a
caller that is refused more than 60 times a minute has the others counted, and so has one that plans
more often; what the database does not take is lost, and counted.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from google.protobuf.message import Message
from prometheus_client import Counter

from zart_server.api.attempted import attempt_of, is_refusal, refusal_of
from zart_server.api.audited import AUDITED
from zart_server.api.record_limit import Origin, RecordLimit
from zart_server.domain.errors import ZartError
from zart_server.domain.operations import Refusal
from zart_server.store.db import Database
from zart_server.store.operation_attempts import OperationAttempt, record_attempts

UNRECORDED = Counter(
    "zart_operation_attempts_unrecorded_total",
    "Refused and planned mutations that are not on record: beyond a caller's limit, or lost",
    ["why"],
    registry=None,
)
# An alert asks for their increase, which Prometheus sees of no series that begins with its first.
for _why in ("lost", "limit"):
    UNRECORDED.labels(_why)
_log = logging.getLogger(__name__)
_MOST_WAITING = 2_000
_AT_ONCE = 200
_PATIENCE = 5.0  # seconds
_GIVEN_UP = 2.0  # seconds in which a write that is given up has come to its end


class AuditTrail:
    """The record of one server."""

    def __init__(self, db: Database) -> None:
        self._db = db
        # Each has its own: a refusal is not lost for what its caller has planned before it.
        self._refusals = RecordLimit()
        self._plans = RecordLimit()
        self._waiting: deque[OperationAttempt] = deque()
        self._writing: asyncio.Task[None] | None = None

    def refused(
        self, method: str, request: Message | None, error: ZartError, origin: Origin
    ) -> None:
        """Record that a call was refused, if it would have changed something."""
        if method in AUDITED and is_refusal(error):
            self._note(method, request, origin, refusal_of(error))

    def planned(self, method: str, request: Message | None, origin: Origin) -> None:
        """Record that a call was answered with a plan: nothing was changed."""
        if method in AUDITED:
            self._note(method, request, origin, None)

    def _note(
        self,
        method: str,
        request: Message | None,
        origin: Origin,
        refusal: Refusal | None,
    ) -> None:
        if len(self._waiting) >= _MOST_WAITING:
            UNRECORDED.labels("lost").inc()
            return
        limit = self._plans if refusal is None else self._refusals
        if not limit.admits(origin, time.monotonic()):
            UNRECORDED.labels("limit").inc()
            return
        if refusal is not None and (omitted := limit.take_omitted(origin)):
            counted = {**refusal.metadata, "not_recorded_before": str(omitted)}
            refusal = replace(refusal, metadata=counted)
        self._waiting.append(attempt_of(AUDITED[method], request, origin.principal, refusal))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write(), name="audit trail")

    async def _write(self) -> None:
        try:
            while self._waiting:
                most = min(_AT_ONCE, len(self._waiting))
                await self._record([self._waiting.popleft() for _ in range(most)])
        finally:
            self._writing = None

    async def _record(self, attempts: Sequence[OperationAttempt]) -> None:
        try:
            async with asyncio.timeout(_PATIENCE), self._db.autocommit() as connection:
                await record_attempts(connection, attempts)
        except asyncio.CancelledError:
            _lose(len(attempts), "the server stops")
            raise
        except Exception as error:  # noqa: BLE001 - told, and in full unless it is a known one; it must go on
            _lose(len(attempts), type(error).__name__)
            if not isinstance(error, (ZartError, TimeoutError)):
                _log.exception("a defect, as refused operations were put on record")

    async def drain(self) -> None:
        """Wait until what was noted is written, for some seconds; what is not by then is lost."""
        if self._writing is None:
            return
        _, late = await asyncio.wait([self._writing], timeout=_PATIENCE)
        if not late:
            return
        if self._waiting:
            _lose(len(self._waiting), "the server stops")
            self._waiting.clear()
        for writing in late:
            writing.cancel()
        await asyncio.wait(late, timeout=_GIVEN_UP)


def _lose(count: int, why: str) -> None:
    UNRECORDED.labels("lost").inc(count)
    _log.warning("%d refused or planned operations are not on record: %s", count, why)
