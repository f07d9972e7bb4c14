"""Short words for rules that let steps go: pause, wait until settled or released, look."""

from __future__ import annotations

from rig import Rig, eventually

from zart.models import PauseRule, PauseRuleRelease


async def paused(rig: Rig, step_pattern: str | None = None) -> str:
    """Pause and have the rule settled; gives its id."""
    rule = (await rig.client.pause(task_name="t", step_pattern=step_pattern)).rule
    await settled(rig)
    return rule.rule_id


async def settled(rig: Rig) -> None:
    async def is_settled() -> bool:
        return not await rig.db.fetchval("SELECT EXISTS (SELECT FROM zart.pause_work)")

    await eventually(is_settled)


async def until_status(rig: Rig, rule_id: str, status: str) -> PauseRule:
    """Wait until a rule has a status; gives it."""
    found = []

    async def has_it() -> bool:
        found.append(await rig.client.get_pause_rule(rule_id))
        return bool(found[-1].status.value == status)

    await eventually(has_it)
    return found[-1]


async def hold_the_pace(rig: Rig) -> None:
    """Have rules that let steps go at a pace let none go for a day."""
    await rig.db.execute(
        "UPDATE zart.pause_releases SET credit = -86400 * rate_per_second,"
        " credit_at = statement_timestamp()"
    )


async def until_released(rig: Rig, count: int) -> None:
    """Wait until so many steps were let go."""

    async def were() -> bool:
        released: int = await rig.db.fetchval("SELECT count(*) FROM zart.released_steps")
        return released >= count

    await eventually(were)


def release_of(rule: PauseRule) -> PauseRuleRelease:
    assert rule.release is not None
    return rule.release


async def waits_for_dispatchers(rig: Rig, rule_id: str) -> bool:
    """Return whether a release says that it does."""
    return release_of(await rig.client.get_pause_rule(rule_id)).waiting_for_dispatchers
