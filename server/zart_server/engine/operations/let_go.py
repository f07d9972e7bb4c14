"""Lets the oldest paused steps of a rule go, while the rule stands: a canary, or at a pace."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import NamedTuple

from zart_server.domain.pacing import Release, judge_release
from zart_server.domain.rule_set import Judgement
from zart_server.store.connection import Tx
from zart_server.store.pausing.drains import undrain
from zart_server.store.pausing.judging import write_judged
from zart_server.store.pausing.letting_go import let_go
from zart_server.store.pausing.paused import PausedStep, paused_by_rule, paused_in_runs
from zart_server.store.runs import lock_runs

_ROUNDS = 20  # of runs that others have locked


class LetGo(NamedTuple):
    """How many steps a rule let go, and how many it left to other rules."""

    released: int
    handed_over: int


async def lock_line(
    tx: Tx, rule_key: int, count: int, until: datetime | None = None
) -> tuple[list[int], bool]:
    """Lock the runs of a rule's ``count`` oldest paused steps, but those that others have locked.

    Only of steps that are due ``until`` then, if that is given. Return the runs, and whether there
    was any such step. The caller holds no lock that comes after runs.
    """
    locked: list[int] = []
    tried: set[int] = set()
    after, found, is_any = None, 0, False
    for _ in range(_ROUNDS):
        paused = await paused_by_rule(tx, rule_key, after, count - found)
        if until is not None:
            paused = [step for step in paused if step.not_before <= until]
        if not paused:
            break
        is_any = True
        wanted = {step.run_key for step in paused} - tried
        tried |= wanted
        # The run row is the mutex of its steps: a Restart must not miss a step that is being moved.
        got = await lock_runs(tx, wanted, wait=False) if wanted else {}
        locked += got
        mine = set(locked)
        found += sum(step.run_key in mine for step in paused)
        if found >= count:
            break
        after = paused[-1]
    return locked, is_any


async def let_steps_go(
    tx: Tx,
    rule_key: int,
    run_keys: Collection[int],
    count: int,
    rates: Mapping[int, float],
    *,
    looked_at: int | None = None,
    until: datetime | None = None,
) -> LetGo:
    """Let go the ``count`` oldest steps of a rule in locked runs.

    What other rules withhold too is left to them, as ``judge_release`` says by the ``rates`` of the
    releasing rules, and does not count: of as many steps as are ``looked_at``, by default as many
    as may go. The caller holds the pause lock, shared.
    """
    oldest = await paused_in_runs(tx, rule_key, list(run_keys), looked_at or count)
    if until is not None:
        oldest = [step for step in oldest if step.not_before <= until]
    if not oldest:
        return LetGo(0, 0)
    steps: list[PausedStep] = []
    releases: list[Release] = []

    async def write(judgement: Judgement) -> int | None:
        # Nothing is awaited between the judgement and this: the rules are those of its epoch.
        steps.clear()
        releases.clear()
        left = count
        for step in oldest:
            release = _release(rule_key, set(tx.pauses.matching(step.names)), rates)
            left -= rule_key in release.let_go_by
            if left < 0:
                break
            steps.append(step)
            releases.append(release)
        return await let_go(tx, rule_key, steps, releases, judgement)

    _, released = await write_judged(tx, [step.names for step in oldest], write)
    letting_go: set[int] = set()
    for step, release in zip(steps, releases, strict=True):
        letting_go.update(release.let_go_by)
        if release.withheld_by is None:
            letting_go.update(step.let_go)  # rules that let it go before
            tx.changes.queued(step.task_name, step.handler)
            tx.changes.put_back(step.task_name, step.handler, step.lane, step.cursor)
    if letting_go:
        await undrain(tx, *letting_go)
    return LetGo(released, len(steps) - released)


def _release(rule_key: int, matching: set[int], rates: Mapping[int, float]) -> Release:
    if rule_key in matching:
        return judge_release(rule_key, matching - {rule_key}, rates)
    # The rule exempts the execution by now: the step is the others', or nobody's.
    return Release(min(matching, default=None))
