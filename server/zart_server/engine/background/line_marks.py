"""Where the pieces of a release begin to look: behind what it has let go, now and then at the head.

A look at the head of a rule's line is quick, but while a snapshot is open for long: then all that
the rule has let go since is read, too. So a piece begins at a mark then, and looks at the head take
a small part of the time. They find what stands before the mark: steps of runs that others had
locked, those that other rules have handed over, those that the rule matches again, and those that
were given back unbegun, which keep their place.
Where there are such locked ones, and nothing behind the mark may go, the head is looked at soon.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from datetime import datetime, timedelta

from zart_server.engine.operations.let_go import LockedLine
from zart_server.store.pausing.paused import PausedAt

_SLOW = 0.05  # seconds; a look at the head that takes no longer is taken each time
_SHARE = 20.0  # such looks take one second in so many, if they are slow
# What became ready a moment ago may be committed only now: its place is that of when it began. So
# no mark is younger, nor in the future, where what waits for a backoff stands.
_LATE = timedelta(seconds=5)


class LineMarks:
    """How far one server knows the lines of rules to have been let go.

    Looks at the head that take longer than ``slow`` seconds rest ``share`` times as long; or once
    as long, where what was locked before the mark is all that may go. They also seem to take long
    where the server is busy.
    """

    def __init__(self, slow: float = _SLOW, share: float = _SHARE) -> None:
        self._slow, self._share = slow, share
        self._marks: dict[int, PausedAt] = {}
        self._rests_until: dict[int, float] = {}
        self._took: dict[int, float] = {}  # seconds, the last look at the head
        self._passed_over: set[int] = set()  # the rules that have locked steps before their marks

    def begin(self, rule_key: int) -> PausedAt | None:
        """Return behind which step to look; None: at the head."""
        if time.monotonic() >= self._rests_until.get(rule_key, 0.0):
            return None
        return self._marks[rule_key]

    def looked(
        self,
        rule_key: int,
        begin: PausedAt | None,
        line: LockedLine,
        end: PausedAt | None,
        now: datetime,
    ) -> None:
        """Note where a look began and what it found, as of ``now`` by the database's clock.

        ``end`` is the last step that was moved, once that has committed; None: there was none.
        """
        latest = PausedAt(now - _LATE, 0, 0)
        reached = min(latest, end or (_before(line.first) if line.first else latest))
        if begin is None:
            self._passed_over.discard(rule_key)
        if line.passes_over:
            self._passed_over.add(rule_key)
        if begin is not None:
            self._marks[rule_key] = max(begin, reached)
            if not line.run_keys and rule_key in self._passed_over:
                soon = time.monotonic() + self._took[rule_key]
                self._rests_until[rule_key] = min(self._rests_until[rule_key], soon)
            return
        self._marks[rule_key] = reached
        self._took[rule_key] = line.seconds
        rest = line.seconds * self._share if line.seconds > self._slow else 0.0
        self._rests_until[rule_key] = time.monotonic() + rest

    def keep_only(self, rule_keys: Collection[int]) -> None:
        """Forget all rules but these."""
        for of_rules in (self._marks, self._rests_until, self._took):
            for key in of_rules.keys() - set(rule_keys):
                del of_rules[key]
        self._passed_over.intersection_update(rule_keys)


def _before(step: PausedAt) -> PausedAt:
    return step._replace(queue_no=step.queue_no - 1)
