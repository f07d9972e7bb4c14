"""Watches: pushes what changed in a run to whoever follows it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from dataclasses import dataclass, field, replace

from zart_server.domain.commands import ExecutionView
from zart_server.domain.errors import ShuttingDown
from zart_server.domain.model import Step
from zart_server.store.db import Database
from zart_server.store.reads.executions import execution_key_of, get_execution
from zart_server.store.reads.watched import run_digests

_GATHER = 0.015  # seconds


@dataclass(eq=False, slots=True)
class _Watch:
    execution_key: int
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    digest: str = ""


class Watches:
    """All watches of one server: fed by its own commits and by one LISTEN."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._watches: dict[int, set[_Watch]] = {}
        self._stopping = False
        self.on_first: Callable[[], None] = lambda: None

    async def watch(
        self, execution_id: str, run_number: int | None
    ) -> AsyncIterator[ExecutionView]:
        """Give the whole state first, then what changed, until the watched run is finished.

        Without ``run_number`` it goes over to the next run after a restart or rerun. Raises
        ExecutionNotFound, RunNotFound, or ShuttingDown when this server stops.
        """
        async with self._db.transaction() as tx:
            execution_key = await execution_key_of(tx, execution_id)
        watch = _Watch(execution_key)
        is_first = not self._watches
        self._watches.setdefault(execution_key, set()).add(watch)
        if is_first:
            self.on_first()
        try:
            known: dict[str, Step] = {}
            watched = -1
            while True:
                view, took = await self._read(execution_id, run_number)
                if view.run.run_number != watched:
                    watched, known = view.run.run_number, {}
                steps = tuple(step for step in view.steps if known.get(step.step_name) != step)
                known = {step.step_name: step for step in view.steps}
                yield replace(view, steps=steps)
                if view.run.status.is_finished:
                    return
                await self._next_change(watch, took)
        finally:
            self._watches[execution_key].discard(watch)
            if not self._watches[execution_key]:
                del self._watches[execution_key]

    async def _read(self, execution_id: str, run_number: int | None) -> tuple[ExecutionView, float]:
        """Read the state as of one moment, and tell how many seconds that took."""
        begun = asyncio.get_running_loop().time()
        async with self._db.transaction(snapshot=True) as tx:
            view = await get_execution(tx, execution_id, run_number)
        return view, asyncio.get_running_loop().time() - begun

    async def _next_change(self, watch: _Watch, took: float) -> None:
        """Wait for a hint: the end is read at once, what leads to it when some has gathered.

        A large run that changes all the time is read half of the time at most.
        """
        if not self._stopping:  # one that began while this server stopped was not told so
            await watch.changed.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(took, _GATHER)):
                    await watch.ended.wait()
        watch.changed.clear()
        watch.ended.clear()
        if self._stopping:
            raise ShuttingDown

    def __bool__(self) -> bool:
        return bool(self._watches)

    def changed(self, execution_keys: Iterable[int], ended: Collection[int] = ()) -> None:
        """Tell the watches of these executions to look again; ``ended`` are some of them."""
        if not self._watches:
            return
        for key in execution_keys:
            for watch in self._watches.get(key, ()):
                watch.changed.set()
                if key in ended:
                    watch.ended.set()

    def changed_all(self) -> None:
        """Tell all watches to look again: hints may have been lost."""
        self.changed(self._watches, self._watches)

    async def poll(self) -> None:
        """Find what changed without a hint, for all watches in one statement."""
        if not self._watches:
            return
        async with self._db.transaction() as tx:
            digests = await run_digests(tx, list(self._watches))
        for key, digest in digests.items():
            for watch in self._watches.get(key, ()):
                if watch.digest and watch.digest != digest:
                    watch.changed.set()
                watch.digest = digest

    def stop(self) -> None:
        """End all watches; their callers watch again elsewhere."""
        self._stopping = True
        self.changed_all()
