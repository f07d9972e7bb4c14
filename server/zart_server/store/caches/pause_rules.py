"""Keeps the active pause rules at hand; validated by the epoch of the rules."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from zart_server.domain.rule_set import ActiveRule, Judgement, RuleSet, StepNames

_NO_EPOCH = -1  # which is no database's


@dataclass(frozen=True, slots=True)
class ChangedRules:
    """The rules that changed, as of ``epoch``: those that are active, and those deleted."""

    epoch: int
    put: list[ActiveRule]
    deleted: list[int]


class PauseCache:
    """The active rules as of one epoch. Only what has changed since is read.

    What is judged by them is written by ``store.pausing.judging``, under the pause lock.
    """

    def __init__(self) -> None:
        self._epoch = _NO_EPOCH
        self._rules = RuleSet()
        self.reading: asyncio.Future[None] | None = None  # of all rules, until it ends

    @contextlib.contextmanager
    def being_read(self) -> Iterator[None]:
        """Let others know that all rules are read, so that they wait for that."""
        self.reading = reading = asyncio.get_running_loop().create_future()
        try:
            yield
        finally:
            self.reading = None
            reading.set_result(None)

    @property
    def since(self) -> int | None:
        """The epoch whose rules these are; None if they were never read."""
        return None if self._epoch == _NO_EPOCH else self._epoch

    @property
    def is_any(self) -> bool:
        """Whether there is a rule at all."""
        return bool(self._rules)

    def replace(self, epoch: int, active: RuleSet) -> None:
        """Take all active rules as of an epoch; nothing if those at hand are as new."""
        if epoch > self._epoch:
            self._epoch, self._rules = epoch, active

    def change(self, changed: ChangedRules) -> None:
        """Take what changed until an epoch; nothing if the rules at hand are as new."""
        if changed.epoch > self._epoch:
            self._epoch = changed.epoch
            for rule in changed.put:
                self._rules.put(*rule)
            for key in changed.deleted:
                self._rules.drop(key)

    def oldest(self, step: StepNames) -> int | None:
        """Return the key of the oldest rule that withholds a step, None where none does."""
        return self._rules.oldest(*step)

    def judged(self, rules: Sequence[int | None], since: int | None) -> Judgement:
        """Return a judgement by the rules of ``since``, the epoch before the first was looked for.

        If others have come since, some may be by these: then it is of no epoch, and so no statement
        writes by it, whatever a failover makes of the database's.
        """
        return Judgement(rules, self._epoch if since == self._epoch else _NO_EPOCH)

    @property
    def knows_any(self) -> bool:
        """Whether a rule names or exempts an execution: else it does not matter whose a step is."""
        return self._rules.knows_any

    def knows(self, execution_id: str) -> bool:
        """Return whether a rule names or exempts an execution."""
        return self._rules.knows(execution_id)

    def matching(self, step: StepNames) -> Iterator[int]:
        """Return the keys of all rules that withhold a step, in no order; for what is told."""
        return self._rules.matching(*step)
