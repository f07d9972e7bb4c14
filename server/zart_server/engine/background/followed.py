"""One watched execution: its state as last read, and the version in which each step changed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any

from zart_server.domain.commands import ExecutionView

_WHOLE = -1


@dataclass(eq=False, slots=True)
class WatchUpdate:
    """An update for watches of an execution. ``message``: its encoded form, made once for all."""

    view: ExecutionView
    version: int
    message: Any = None

    @property
    def is_last(self) -> bool:
        """Whether nothing follows it: the run is finished."""
        return self.view.run.status.is_finished


class Followed:
    """An execution, or one run of it, as all of its watches see it."""

    def __init__(self, execution_id: str, run_number: int | None) -> None:
        self.wanted = (execution_id, run_number)
        self.watches = 0
        self.view: ExecutionView | None = None
        self.digest = ""
        self.reads_begun = 0
        self.reads_done = 0
        self.changed = asyncio.Event()  # another one each time
        self.error: Exception | None = None  # of the last read that failed
        self.failed = 0  # its number
        self._version = 0
        self._changed_at: list[int] = []  # the version, by step
        self._updates: dict[int, WatchUpdate] = {}  # by the version before

    @property
    def size(self) -> int:
        """About how many steps a read of it reads."""
        return 100 if self.view is None else len(self.view.steps)

    @property
    def version(self) -> int:
        """A number that grows with each change."""
        return self._version

    def take(self, view: ExecutionView) -> None:
        """Take the state that was read, and wake the watches; those that know it wait on."""
        known, self.view = self.view, view
        self.digest = view.digest or self.digest
        # After a failover that lost commits another run may have the key, and other steps.
        is_same = known is not None and known.run_key == view.run_key
        if known is None or not is_same or len(known.steps) != len(view.steps):
            changed = list(range(len(view.steps)))
            self._changed_at = [0] * len(view.steps)
        else:
            pairs = zip(known.steps, view.steps, strict=True)
            changed = [number for number, (was, now) in enumerate(pairs) if was != now]
        is_other = known is None or (known.execution, known.run) != (view.execution, view.run)
        if changed or is_other:
            self._version += 1
            self._updates.clear()
            for number in changed:
                self._changed_at[number] = self._version
        self.wake()

    def fail(self, error: Exception) -> None:
        """End the watches that the read under way, which failed, was for."""
        self.error, self.failed = error, self.reads_begun
        self.wake()

    def wake(self) -> None:
        """Have the watches look for a change."""
        woken, self.changed = self.changed, asyncio.Event()
        woken.set()

    def since(self, version: int | None) -> WatchUpdate:
        """Return what changed after a version; None: the whole state. Made once for all watches."""
        view = self.view
        if view is None:
            raise LookupError("it was not read yet")
        known = _WHOLE if version is None else version
        update = self._updates.get(known)
        if update is None:
            changed = zip(view.steps, self._changed_at, strict=True)
            steps = tuple(step for step, at in changed if at > known)
            if len(steps) < len(view.steps):
                view = replace(view, steps=steps)
            update = self._updates[known] = WatchUpdate(view, self._version)
        return update
