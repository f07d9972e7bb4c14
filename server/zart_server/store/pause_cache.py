"""Keeps at hand which active rules match which steps; validated by the epoch of the rules.

Every use is under the pause lock, shared, so the epoch cannot change between judging a step and
writing what was judged; a judgement by an outdated epoch writes nothing and is repeated.
"""

from __future__ import annotations

from collections.abc import Sequence

from zart_server.store.db import Tx
from zart_server.store.rules import matching_rules, read_epoch

_MAX_ENTRIES = 50_000


class PauseCache:
    """The rules that match each (task name, step name), oldest first, as of one epoch."""

    def __init__(self) -> None:
        self.epoch = -1
        self._any_active = False
        self._rules: dict[tuple[str, str], list[tuple[int, str | None]]] = {}

    async def refresh(self, tx: Tx) -> None:
        """Read the epoch; forget the rules where it has changed."""
        epoch, any_active = await read_epoch(tx)
        if epoch != self.epoch:
            self.epoch, self._any_active = epoch, any_active
            self._rules.clear()

    async def judge(self, tx: Tx, steps: Sequence[tuple[str, str, str]]) -> list[int | None]:
        """Give, for each (execution id, task name, step name), the oldest rule that matches."""
        if self.epoch < 0:
            await self.refresh(tx)
        if not self._any_active:
            return [None] * len(steps)
        missing = {(task, step) for _, task, step in steps} - self._rules.keys()
        if missing:
            if len(self._rules) > _MAX_ENTRIES:
                self._rules.clear()
                missing = {(task, step) for _, task, step in steps}
            self._rules.update(await matching_rules(tx, sorted(missing)))
        return [
            next(
                (rule for rule, of in self._rules[task, step] if of is None or of == execution),
                None,
            )
            for execution, task, step in steps
        ]
