"""Watches: pushes what changed in a run to whoever follows it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from dataclasses import dataclass, field, replace

from zart_server.domain.commands import ExecutionView
from zart_server.domain.errors import ShuttingDown
from zart_server.domain.model import Step
from zart_server.engine.turns import let_others_go_first
from zart_server.store.db import Database
from zart_server.store.reads.executions import get_execution
from zart_server.store.reads.watched import run_digests

_GATHER = 0.015  # seconds
_REST = 4  # times as long as a read took


@dataclass(eq=False, slots=True)
class _Watch:
    execution_key: int | None = None
    heard_of: dict[int, bool] = field(default_factory=dict)  # keys so far, True: its run ended
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    digest: str = ""


class Watches:
    """All watches of one server: fed by its own commits and by one LISTEN."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._watches: dict[int, set[_Watch]] = {}
        self._beginning: set[_Watch] = set()
        self._stopping = False
        self.on_first: Callable[[], None] = lambda: None

    async def watch(
        self, execution_id: str, run_number: int | None
    ) -> AsyncIterator[ExecutionView]:
        """Give the whole state first, then what changed, until the watched run is finished.

        Without ``run_number`` it goes over to the next run after a restart or rerun. Raises
        ExecutionNotFound, RunNotFound, or ShuttingDown when this server stops.
        """
        watch = _Watch()
        try:
            self._begin(watch)
            await let_others_go_first()
            known: dict[str, Step] = {}
            watched, told = -1, None
            while True:
                view, took = await self._read(execution_id, run_number)
                if watch.execution_key is None:
                    self._follow(watch, view.execution_key)
                if view.run.run_number != watched:
                    watched, known = view.run.run_number, {}
                steps = tuple(step for step in view.steps if known.get(step.step_name) != step)
                known = {step.step_name: step for step in view.steps}
                if steps or told != (view.execution, view.run):
                    told = view.execution, view.run
                    yield replace(view, steps=steps)
                if view.run.status.is_finished:
                    return
                await self._next_change(watch, took)
        finally:
            self._end(watch)

    def _begin(self, watch: _Watch) -> None:
        """Hear of all changes until it is known by which key the watched execution goes."""
        is_first = not self
        self._beginning.add(watch)
        if is_first:
            self.on_first()

    def _follow(self, watch: _Watch, execution_key: int) -> None:
        self._beginning.discard(watch)
        watch.execution_key = execution_key
        self._watches.setdefault(execution_key, set()).add(watch)
        if execution_key in watch.heard_of:
            watch.changed.set()
        if watch.heard_of.get(execution_key):
            watch.ended.set()
        watch.heard_of.clear()

    def _end(self, watch: _Watch) -> None:
        self._beginning.discard(watch)
        key = watch.execution_key
        if key is not None:
            self._watches[key].discard(watch)
            if not self._watches[key]:
                del self._watches[key]

    async def _read(self, execution_id: str, run_number: int | None) -> tuple[ExecutionView, float]:
        """Read the state as of one moment, and tell how many seconds that took."""
        begun = asyncio.get_running_loop().time()
        async with self._db.looking() as tx:
            view = await get_execution(tx, execution_id, run_number)
        return view, asyncio.get_running_loop().time() - begun

    async def _next_change(self, watch: _Watch, took: float) -> None:
        """Wait for a hint: the end is read at once, what leads to it when some has gathered.

        A large run that changes all the time is read a fifth of the time at most.
        """
        if not self._stopping:  # one that began while this server stopped was not told so
            await watch.changed.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(took * _REST, _GATHER)):
                    await watch.ended.wait()
        watch.changed.clear()
        watch.ended.clear()
        if self._stopping:
            raise ShuttingDown

    def __bool__(self) -> bool:
        return bool(self._watches or self._beginning)

    def changed(self, execution_keys: Iterable[int], ended: Collection[int] = ()) -> None:
        """Tell the watches of these executions to look again; ``ended`` are some of them."""
        if not self:
            return
        for key in execution_keys:
            for beginning in self._beginning:
                beginning.heard_of[key] = key in ended or beginning.heard_of.get(key, False)
            for watch in self._watches.get(key, ()):
                watch.changed.set()
                if key in ended:
                    watch.ended.set()

    def changed_all(self) -> None:
        """Tell all watches to look again: hints may have been lost."""
        self.changed(self._watches, self._watches)
        for watch in self._beginning:
            watch.changed.set()
            watch.ended.set()

    async def poll(self) -> None:
        """Find what changed without a hint, for all watches in one statement."""
        if not self._watches:
            return
        async with self._db.transaction() as tx:
            digests = await run_digests(tx, list(self._watches))
        for key, digest in digests.items():
            for watch in self._watches.get(key, ()):
                # One that has none yet may have missed a hint since it was read.
                if watch.digest != digest:
                    watch.changed.set()
                watch.digest = digest

    def stop(self) -> None:
        """End all watches; their callers watch again elsewhere."""
        self._stopping = True
        self.changed_all()
