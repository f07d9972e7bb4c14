"""Keeps the active pause rules at hand; validated by the epoch of the rules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from zart_server.domain.rule_set import ActiveRule, Judgement, RuleSet, StepNames


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
        self._epoch = -1  # which is no database's
        self._rules = RuleSet()

    @property
    def since(self) -> int | None:
        """The epoch whose rules these are; None if they were never read."""
        return None if self._epoch < 0 else self._epoch

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

    def judge(self, steps: Iterable[StepNames]) -> Judgement:
        """Find the oldest rule that withholds each step.

        Synchronous: no refresh comes between the rules and their epoch.
        """
        oldest = self._rules.oldest
        rules = [oldest(*step) for step in steps] if self._rules else []
        return Judgement(rules, self._epoch)

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
