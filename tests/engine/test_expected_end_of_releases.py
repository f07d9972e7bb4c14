"""When a release will have let all go: by what can leave its line, not by what backs off in it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from releasing import paused, release_of, until_released
from rig import Rig, eventually

import zart
from zart.models import PauseRuleRelease, StepError

HOUR = timedelta(hours=1)
LATER = zart.Failed(StepError("Down", "no", ""), retry_after=HOUR.total_seconds())


async def backing_off(rig: Rig, count: int) -> None:
    """Have so many steps back off for an hour."""
    await rig.start("later", {f"s{n}": () for n in range(count)})
    tasks = await rig.lease()
    await rig.report(*(zart.Outcome(t.task_id, t.lease_token, LATER) for t in tasks))


async def counted_anew(rig: Rig, rule_id: str) -> PauseRuleRelease:
    """Return what is told of a release once its line was counted twice from here on."""
    sql = "SELECT counted_at FROM zart.pause_releases WHERE ended_at IS NULL"
    for _ in range(2):
        before = await rig.db.fetchval(sql)

        async def is_counted(before: datetime | None = before) -> bool:
            return bool(await rig.db.fetchval(sql) not in (None, before))

        await eventually(is_counted)
    return release_of(await rig.client.get_pause_rule(rule_id))


async def test_of_a_line_of_which_all_backs_off_no_end_is_told(rig: Rig) -> None:
    """It said "in ten seconds" for an hour."""
    await backing_off(rig, 20)
    rule_id = await paused(rig)
    await rig.client.resume(rule_id=rule_id, rate_per_second=2)
    release = await counted_anew(rig, rule_id)
    assert (release.expected_end_at, release.waiting_for_dispatchers) == (None, False)
    assert release.released_steps == 0


async def test_the_end_is_not_before_the_last_of_the_line_is_due(rig: Rig) -> None:
    """Also while those that are due go."""
    await backing_off(rig, 1)
    rule_id = await paused(rig)
    await rig.start("now", {f"s{n}": () for n in range(10)})
    due = (await rig.client.get_step("later", "s0")).not_before
    await rig.client.resume(rule_id=rule_id, rate_per_second=0.1)
    release = await counted_anew(rig, rule_id)
    assert due is not None
    assert release.expected_end_at is not None
    assert due <= release.expected_end_at < datetime.now(UTC) + HOUR + timedelta(minutes=2)

    # What is due has gone: nothing else goes for an hour.
    await rig.client.resume(rule_id=rule_id, rate_per_second=100)
    await until_released(rig, 10)
    release = await counted_anew(rig, rule_id)
    assert (release.expected_end_at, release.waiting_for_dispatchers) == (None, False)
