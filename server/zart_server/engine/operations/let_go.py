"""Lets the oldest paused steps of a rule go, while the rule stands: a canary, or at a pace."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from zart_server.domain.pacing import Release, judge_release
from zart_server.domain.rule_set import Judgement, StepNames
from zart_server.store.caches.pause_rules import PauseCache
from zart_server.store.connection import Tx
from zart_server.store.pausing.alike import Alike
from zart_server.store.pausing.drains import undrain
from zart_server.store.pausing.judging import write_judged
from zart_server.store.pausing.letting_go import let_go
from zart_server.store.pausing.paused import (
    PausedAt,
    PausedStep,
    paused_by_rule,
    paused_in_runs,
)
from zart_server.store.runs import lock_runs
from zart_server.store.slices import Slices

_ROUNDS = 20  # of runs that others have locked


class LetGo(NamedTuple):
    """How many steps a rule let go, and how many it left to other rules; ``end``: the last step."""

    released: int
    handed_over: int
    end: PausedAt | None = None


class LockedLine(NamedTuple):
    """The locked runs of a rule's oldest paused steps.

    ``first``: the oldest step, whether its run was locked or not, and whether it is due or not.
    ``seconds``: how long it took to find. ``passes_over``: whether others had locked some of the
    runs.
    """

    run_keys: list[int]
    first: PausedAt | None
    seconds: float
    passes_over: bool = False


async def lock_line(
    tx: Tx,
    rule_key: int,
    count: int,
    until: datetime | None = None,
    after: PausedAt | None = None,
) -> LockedLine:
    """Lock the runs of a rule's ``count`` oldest paused steps, but those that others have locked.

    Only of steps that are due ``until`` then, if that is given, and that stand behind ``after``.
    The caller holds no lock that comes after runs.
    """
    locked: list[int] = []
    tried: set[int] = set()
    begun, found = time.monotonic(), 0
    passes_over = False
    paused = await paused_by_rule(tx, rule_key, after, count)
    first, seconds = paused[0] if paused else None, time.monotonic() - begun
    for _ in range(_ROUNDS):
        if until is not None:
            paused = [step for step in paused if step.not_before <= until]
        if not paused:
            break
        wanted = {step.run_key for step in paused} - tried
        tried |= wanted
        # The run row is the mutex of its steps: a Restart must not miss a step that is being moved.
        got = await lock_runs(tx, wanted, wait=False) if wanted else {}
        locked += got
        passes_over = passes_over or len(got) < len(wanted)
        mine = set(locked)
        found += sum(step.run_key in mine for step in paused)
        if found >= count:
            break
        paused = await paused_by_rule(tx, rule_key, paused[-1], count - found)
    return LockedLine(locked, first, seconds, passes_over)


async def let_steps_go(
    tx: Tx,
    rule_key: int,
    run_keys: Sequence[int],
    count: int,
    rates: Mapping[int, float],
    *,
    looked_at: int | None = None,
    until: datetime | None = None,
    last_queue_no: int | None = None,
    beside: Mapping[int, int] | None = None,
) -> LetGo:
    """Let go the ``count`` oldest steps of a rule in locked runs.

    Only of steps that are due ``until`` then, and that were ready up to ``last_queue_no``, if those
    are given.

    What other rules withhold too is left to them, as ``judge_release`` says by the ``rates`` of the
    releasing rules, and does not count: of as many steps as are ``looked_at``, by default as many
    as may go. The rules ``beside`` it let so many go with it. The caller holds the pause lock,
    shared.

    Raises PauseRulesChanged, as ``write_judged`` does.
    """
    steps: list[PausedStep] = []
    releases: list[Release] = []

    async def write(judgement: Judgement) -> int | None:
        pauses, left = tx.pauses, count
        oldest = await paused_in_runs(
            tx,
            rule_key,
            run_keys,
            looked_at or count,
            last_queue_no,
            of_executions=pauses.knows_any,
        )
        # Rules that have become known meanwhile are those of another epoch: it writes nothing.
        judge = _Judge(rule_key, rates, pauses, dict(beside or {}))
        slices = Slices(tx)
        steps.clear()
        releases.clear()
        for step in oldest:
            if until is not None and step.not_before > until:
                break
            if slices.is_over:
                await slices.rest()
            release = judge.release_of(step)
            left -= rule_key in release.let_go_by
            if left < 0:
                break
            steps.append(step)
            releases.append(release)
        return await let_go(tx, rule_key, steps, releases, judgement) if steps else 0

    _, released = await write_judged(tx, (), write)
    letting_go = {by for release in set(releases) for by in release.let_go_by}
    queued: dict[int, list[PausedStep]] = {}
    for step, release in zip(steps, releases, strict=True):
        if release.withheld_by is None:
            letting_go.update(step.let_go)  # rules that let it go before
            queued.setdefault(step.lane, []).append(step)
    for first, *more in queued.values():  # the oldest of its lane
        tx.changes.queued(first.task_name, first.handler, count=1 + len(more))
        tx.changes.put_back(first.task_name, first.handler, first.lane, first.cursor)
    if letting_go:
        await undrain(tx, *letting_go)
    last = steps[-1] if steps else None
    end = None if last is None else PausedAt(last.not_before, last.queue_no, last.run_key)
    return LetGo(released, len(steps) - released, end)


class _Judge:
    """Judges the steps in the line of a rule, those that all rules see alike only once.

    ``room``: how many more the rules beside it let go with it.
    """

    def __init__(
        self, rule_key: int, rates: Mapping[int, float], pauses: PauseCache, room: dict[int, int]
    ) -> None:
        self._rule_key, self._rates, self._pauses = rule_key, rates, pauses
        self._room = room
        self._alike = Alike(pauses, self._judged)

    def release_of(self, step: PausedStep) -> Release:
        """Return what becomes of a step; it takes up the room that rules beside have."""
        release = self._alike.of(step.names)
        beside = [by for by in release.let_go_by if by in self._room]
        if full := [by for by in beside if not self._room[by]]:
            return Release(min(full))  # theirs, until they want another
        for by in beside:
            self._room[by] -= 1
        return release

    def _judged(self, step: StepNames) -> Release:
        matching = set(self._pauses.matching(step))
        if self._rule_key in matching:
            others = matching - {self._rule_key}
            return judge_release(self._rule_key, others, self._rates, self._room)
        # The rule exempts the execution by now: the step is the others', or nobody's.
        return Release(min(matching, default=None))
