"""Pauses of lanes that have several steps, or many tasks that a rule does not match."""

from __future__ import annotations

import pytest
from rig import LONG, QUICK, Rig, eventually
from waiting import until

import zart
from zart.testing.server import ServerUnderTest

ELEVEN = ["n-1", *(f"n-{n}" for n in range(10, 20))]


async def start_fan(rig: Rig, execution_id: str, names: list[str], task: str = "t") -> None:
    """Start steps that are all of one handler, and so of one lane."""
    await rig.client.start(
        task, None, execution_id=execution_id,
        steps=[zart.StepSpec(name, handler="h", retry=QUICK) for name in names],
    )  # fmt: skip


async def settled(rig: Rig) -> bool:
    """Return whether nothing is left to be moved."""
    return not await rig.db.fetchval("SELECT EXISTS (SELECT FROM zart.pause_work)")


async def test_part_of_a_lane_is_paused(rig: Rig) -> None:
    names = [f"n-{n}" for n in range(30)]
    await start_fan(rig, "x", names)
    paused = await rig.client.pause(step_pattern="n-1*")

    assert paused.paused_steps == 11
    assert sorted(t.step_name for t in await rig.lease()) == sorted(set(names) - set(ELEVEN))
    await eventually(lambda: settled(rig))
    assert await rig.db.fetchval("SELECT count(*) FROM zart.held") == 11
    resumed = await rig.client.resume(rule_id=paused.rule_id)
    assert resumed.released_steps == 11
    assert sorted(t.step_name for t in await rig.lease(wait=LONG)) == sorted(ELEVEN)


async def test_a_lane_gets_a_second_step_under_a_rule(rig: Rig) -> None:
    """What was known of the lane when the rule was added does not hold any more."""
    await start_fan(rig, "x", ["a"])
    await rig.client.pause(step_pattern="b*")
    await rig.client.pause(step_pattern="a")
    await start_fan(rig, "y", ["b1", "c"])

    assert [t.step_name for t in await rig.lease()] == ["c"]
    await eventually(lambda: settled(rig))
    assert await rig.statuses("y") == {"b1": "PAUSED", "c": "RUNNING"}
    assert await rig.statuses("x") == {"a": "PAUSED"}
    sole = await rig.db.fetchval("SELECT step_name FROM zart.lanes WHERE handler = 'h'")
    assert sole is None


async def until_swept_again(server: ServerUnderTest) -> None:
    """Wait until the mover has come to the end of all lanes once more, and begins anew."""
    sweeps = server.running.runtime.sweeps._sweeps
    await until(lambda: any(sweep.is_missed for sweep in list(sweeps.values())))
    before = {
        id(sweep): sweep for sweep in list(sweeps.values())
    }  # kept, so that no id comes again
    await until(lambda: any(id(sweep) not in before for sweep in list(sweeps.values())))


async def test_a_lane_remembers_its_only_step(rig: Rig) -> None:
    await start_fan(rig, "x", ["a"])
    await start_fan(rig, "y", ["a"])

    assert await rig.db.fetchval("SELECT step_name FROM zart.lanes WHERE handler = 'h'") == "a"


@pytest.mark.parametrize("pattern", ["a", "n-1*"])
async def test_a_rule_is_not_settled_while_somebody_holds_what_it_matches(
    rig: Rig, pattern: str, zart_server: ServerUnderTest
) -> None:
    """A sweep passes over rows that are locked, as by a claim that is then rolled back."""
    await start_fan(rig, "x", ["a"] if pattern == "a" else ["n-1", "n-2"])
    name = "a" if pattern == "a" else "n-1"
    async with rig.locked("SELECT FROM zart.queue WHERE step_name = $1 FOR UPDATE", name):
        paused = await rig.client.pause(step_pattern=pattern)
        assert paused.paused_steps == 1
        await until_swept_again(zart_server)
        assert not await settled(rig)
    assert name not in [t.step_name for t in await rig.lease()]
    await eventually(lambda: settled(rig))
    assert await rig.db.fetchval("SELECT array_agg(step_name) FROM zart.held") == [name]


async def test_a_rule_of_an_execution_is_settled_with_the_pause(rig: Rig) -> None:
    await start_fan(rig, "x", ["a", "b", "c"])
    await start_fan(rig, "y", ["a", "b", "c"])
    paused = await rig.client.pause(execution_id="x", step_pattern="[ab]")

    assert paused.paused_steps == 2
    # By the mover, if that had locked them first and commits in a moment.
    await eventually(lambda: settled(rig))
    assert len(await rig.lease()) == 4


async def test_matching_steps_behind_many_others_are_counted(rig: Rig) -> None:
    await start_fan(rig, "many", [f"n-{n}" for n in range(2000)])
    await rig.start("few", {"last": ()})
    paused = await rig.client.pause(step_pattern="last")

    assert (paused.paused_steps, paused.paused_steps_is_lower_bound) == (1, False)
    by_task = await rig.client.pause(task_name="other")
    assert by_task.paused_steps == 0
