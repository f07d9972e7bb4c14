"""The pace of a release, by the credit in the database."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from itertools import pairwise

import pytest
from patient import patient_database
from releasing import (
    paused,
    release_of,
    settled,
    until_released,
    until_status,
    waits_for_dispatchers,
)
from rig import Rig, eventually

import zart
from zart.models import PauseRule, StepError
from zart_server.engine.background import releases

STEPS = {f"s{n}": () for n in range(6)}
RELEASED = """SELECT step_no, EXTRACT(epoch FROM released_at)::float8 AS at FROM zart.released_steps
    ORDER BY released_at, step_no"""
WENT_BACK = """UPDATE zart.pause_releases SET credit_at = credit_at + interval '10 minutes',
    counted_at = counted_at + interval '10 minutes'"""
NOTE_COUNTS = """
    CREATE TABLE public.counts (counted_at timestamptz);
    CREATE FUNCTION note_count() RETURNS trigger LANGUAGE plpgsql AS
        $$BEGIN INSERT INTO public.counts VALUES (NEW.counted_at); RETURN NULL; END$$;
    CREATE TRIGGER note_count AFTER UPDATE ON zart.pause_releases FOR EACH ROW
        WHEN (OLD.counted_at IS DISTINCT FROM NEW.counted_at) EXECUTE FUNCTION note_count()
"""


async def test_the_pace_is_kept_by_the_databases_clock_and_the_oldest_go_first(rig: Rig) -> None:
    """However late a machine with other work looks: never more than one second's worth ahead."""
    rule_id = await paused(rig)
    rate, steps = 40.0, 120
    await rig.start("x", {f"s{n}": () for n in range(steps)})
    await rig.client.resume(rule_id=rule_id, rate_per_second=rate)
    await until_status(rig, rule_id, "RESUMED")

    rows = await rig.db.fetch(RELEASED)
    assert [row["step_no"] for row in rows] == list(range(steps))
    times = [row["at"] for row in rows]
    for n, begin in enumerate(times):
        for m in range(n + 1, steps):
            window = times[m] - begin
            assert m - n <= rate * window + rate + 1, (n, m)
    # One step at its beginning, the others by the credit since.
    assert times[-1] - times[0] >= (steps - 1 - rate) / rate


async def test_what_is_ready_during_a_release_goes_to_the_end_of_the_line(rig: Rig) -> None:
    rule_id = await paused(rig)
    await rig.start("x", {"a": (), "b": ("a",), "c": (), "d": ()})
    await rig.client.resume(rule_id=rule_id, rate_per_second=0.01)
    await rig.complete(await rig.lease_one("a"))
    assert (await rig.statuses())["b"] == "PAUSED"
    await rig.client.resume(rule_id=rule_id, rate_per_second=1)  # one at a time, however late
    await until_status(rig, rule_id, "RESUMED")
    names = await rig.db.fetch(
        "SELECT step_no FROM zart.released_steps WHERE step_no > 0 ORDER BY released_at"
    )
    assert [row["step_no"] for row in names] == [2, 3, 1]


async def test_a_rate_below_one_step_a_second_works_too(rig: Rig) -> None:
    rule_id = await paused(rig)
    await rig.start("x", {f"s{n}": () for n in range(3)})
    await rig.client.resume(rule_id=rule_id, rate_per_second=0.5)
    await until_status(rig, rule_id, "RESUMED")
    times = [row["at"] for row in await rig.db.fetch(RELEASED)]
    assert all(after - before >= 1.99 for before, after in pairwise(times))


async def test_it_waits_for_dispatchers_and_says_so(rig: Rig) -> None:
    """Ten seconds' worth, at least 10, may be queued and not leased."""
    rule_id = await paused(rig)
    await rig.start("x", {f"s{n}": () for n in range(40)})
    await rig.client.resume(rule_id=rule_id, canary=10)
    await rig.client.resume(rule_id=rule_id, rate_per_second=1)

    waits = partial(waits_for_dispatchers, rig, rule_id)
    await eventually(waits)
    release = release_of(await rig.client.get_pause_rule(rule_id))
    assert (release.released_steps, release.expected_end_at) == (0, None)
    assert len(await rig.lease(3)) == 3
    await until_released(rig, 13)

    async def waits_again() -> bool:
        return await waits() and await rig.db.fetchval("SELECT count(*) FROM zart.queue") == 10

    await eventually(waits_again)
    assert release_of(await rig.client.get_pause_rule(rule_id)).released_steps == 3


async def test_a_clock_that_went_back_stops_no_release(rig: Rig) -> None:
    """As that of a replica which is promoted, and was minutes behind."""
    rule_id = await paused(rig)
    await rig.start("x", STEPS)
    await rig.client.resume(rule_id=rule_id, rate_per_second=1)
    await until_released(rig, 1)
    await rig.db.execute(WENT_BACK)
    await until_status(rig, rule_id, "RESUMED")
    assert len(await rig.lease()) == 6


async def test_nor_does_a_change_of_its_rate_keep_what_is_missing_then(rig: Rig) -> None:
    rule_id = await paused(rig)
    await rig.start("x", STEPS)
    await rig.client.resume(rule_id=rule_id, rate_per_second=0.01)
    await until_released(rig, 1)
    await rig.db.execute("UPDATE zart.pause_releases SET credit = -100")
    await rig.client.resume(rule_id=rule_id, rate_per_second=0.02)
    assert await rig.db.fetchval("SELECT credit FROM zart.pause_releases") >= 0


async def test_what_another_rule_withholds_by_now_takes_up_no_room(rig: Rig) -> None:
    rule_id = await paused(rig)
    await rig.start("x", {f"a{n}": () for n in range(10)})
    await rig.start("y", {f"b{n}": () for n in range(3)})
    await rig.client.resume(rule_id=rule_id, canary=10)
    other = await paused(rig, step_pattern="a*")
    assert await rig.db.fetchval("SELECT count(*) FROM zart.queue") == 0
    await rig.client.resume(rule_id=rule_id, rate_per_second=1)

    await until_released(rig, 13)
    assert set((await rig.statuses("y")).values()) == {"SCHEDULED"}
    release = release_of(await rig.client.get_pause_rule(rule_id))
    assert (release.released_steps, release.waiting_for_dispatchers) == (3, False)
    # The ten are let go still: they are queued once the other rule ends.
    await rig.client.resume(rule_id=other)
    await settled(rig)
    assert len(await rig.lease()) == 13


async def test_while_it_waits_its_line_is_counted_no_more_often(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long line takes long to count: whether there is room is found out without."""
    monkeypatch.setattr(releases, "_COUNT_EVERY", 3600.0)
    await rig.db.execute(NOTE_COUNTS)
    rule_id = await paused(rig)
    await rig.start("x", {f"s{n}": () for n in range(40)})
    await rig.client.resume(rule_id=rule_id, canary=10)
    await rig.client.resume(rule_id=rule_id, rate_per_second=1)

    waits = partial(waits_for_dispatchers, rig, rule_id)
    await eventually(waits)
    assert len(await rig.lease(3)) == 3
    await until_released(rig, 13)
    await eventually(waits)
    assert await rig.db.fetchval("SELECT count(*) FROM public.counts") == 1


async def test_while_nothing_of_its_line_is_due_it_is_looked_at_each_period_at_most(
    zart_database: str, rig: Rig
) -> None:
    """However slow it is, and however many servers look."""
    await rig.start("x", {"a": ()})
    task = await rig.lease_one("a")
    rule_id = await paused(rig)
    failed = zart.Failed(StepError("E", "no", ""), retry_after=3600)
    await rig.report(zart.Outcome(task.task_id, task.lease_token, failed))
    await rig.client.resume(rule_id=rule_id, rate_per_second=1)
    db = await patient_database(zart_database)
    sweep = releases.Releases(db)

    # Now and then the server of the test is at work for the rule: then it is left to that one.
    pauses = [pause for _ in range(20) if (pause := await sweep.turn()) is not None]

    await db.close()
    assert len(pauses) == 20
    assert min(pauses) >= releases._PERIOD


async def test_it_tells_when_it_will_have_let_all_go(rig: Rig) -> None:
    rule_id = await paused(rig)
    await rig.start("x", {f"s{n}": () for n in range(61)})
    await rig.client.resume(rule_id=rule_id, rate_per_second=0.1)
    found: list[PauseRule] = []

    async def is_told() -> bool:
        found.append(await rig.client.get_pause_rule(rule_id))
        return release_of(found[-1]).expected_end_at is not None

    await eventually(is_told)
    release = release_of(found[-1])
    assert release.started_at is not None
    assert release.expected_end_at is not None
    assert abs(release.expected_end_at - release.started_at - timedelta(seconds=600)) < timedelta(
        seconds=60
    )


async def test_of_several_rules_the_slowest_decides_whoever_has_the_step(rig: Rig) -> None:
    fast, slow = await paused(rig), await paused(rig, step_pattern="s*")
    await rig.start("x", STEPS)
    await rig.client.resume(rule_id=fast, rate_per_second=1000)
    await rig.client.resume(rule_id=slow, rate_per_second=2)
    await until_status(rig, fast, "RESUMED")
    await until_status(rig, slow, "RESUMED")
    times = [
        row["at"]
        for row in await rig.db.fetch(
            "SELECT DISTINCT EXTRACT(epoch FROM released_at)::float8 AS at FROM zart.released_steps"
            " ORDER BY at"
        )
    ]
    assert len(times) >= 3
    assert times[-1] - times[0] >= (6 - 1 - 2) / 2
    assert len(await rig.lease()) == 6


async def test_a_step_of_a_rule_that_stays_costs_no_credit_and_keeps_the_other_releasing(
    rig: Rig,
) -> None:
    """A rule is resumed only when it matches no ready step, whoever has it."""
    releasing = await paused(rig)
    other = await paused(rig, step_pattern="s[0-4]")
    await rig.start("x", STEPS)
    await rig.client.resume(rule_id=releasing, rate_per_second=0.5)
    await until_released(rig, 1)
    assert [t.step_name for t in await rig.lease()] == ["s5"]  # behind the five, at once
    assert (await rig.client.get_step("x", "s0")).paused_by == other
    assert (await rig.client.get_pause_rule(releasing)).status.value == "RELEASING"

    # The other ends at once: the rest still goes by the pace that is left.
    await rig.client.resume(rule_id=releasing, rate_per_second=100)
    await rig.client.resume(rule_id=other)
    await until_status(rig, releasing, "RESUMED")
    assert await rig.db.fetchval("SELECT count(*) FROM zart.released_steps") == 6
    assert len(await rig.lease()) == 5


async def test_totals_add_up_at_each_moment(rig: Rig) -> None:
    """What is left, what went and what is queued is one number, in whatever snapshot."""
    rule_id = await paused(rig)
    await rig.start("x", {f"s{n}": () for n in range(60)})
    await rig.client.resume(rule_id=rule_id, rate_per_second=0.01)
    seen = set()

    async def is_over() -> bool:
        row = await rig.db.fetchrow(
            "SELECT (SELECT count(*) FROM zart.held) AS held, (SELECT count(*) FROM zart.queue),"
            " (SELECT count(*) FROM zart.released_steps), (SELECT released_steps FROM"
            " zart.pause_releases) AS told"
        )
        assert row is not None
        held, queued, released, told = row
        assert held + queued == 60
        assert queued == released == told
        seen.add(released)
        return bool(released == 60)

    async def has_begun() -> bool:
        return not await is_over() and 1 in seen

    await eventually(has_begun)
    await rig.client.resume(rule_id=rule_id, rate_per_second=40)
    await eventually(is_over)
