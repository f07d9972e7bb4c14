"""ExplainStep tells of releases: of several the one that decides, and one that waits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from explaining import asked, why
from releasing import paused, release_of
from rig import CHAIN, Rig, eventually

from zart_server.domain.known_step import Ahead
from zart_server.store.connection import Tx
from zart_server.store.reads import known_steps
from zart_server.store.reads.explained_steps import places_in_releases


async def test_of_two_releases_the_slower_tells_the_turn(rig: Rig) -> None:
    await asked(rig)
    faster = await paused(rig)
    slower = await paused(rig)
    equal = await paused(rig)
    for n in range(5):
        await rig.start(f"x{n}", CHAIN)
    for rule_id, rate in ((faster, 40.0), (slower, 0.02), (equal, 0.02)):
        await rig.client.resume(rule_id=rule_id, rate_per_second=rate)

    async def are_handed_over() -> bool:
        return (await why(rig, "a", "x4")).causes[0].ahead > 0

    await eventually(are_handed_over)
    step = await why(rig, "a", "x4")
    assert [cause.rule_id for cause in step.causes] == [slower, equal, faster]
    assert [cause.until is not None for cause in step.causes] == [True, False, False]
    assert step.causes[1].text.endswith(f"go: {slower}, which is as fast, and older, decides")
    assert step.causes[2].text == (
        f"pause rule {faster} lets 40 steps a second go: {slower}, which is slower, decides"
    )
    assert step.next.startswith("It is let go in its turn, at about ")


async def test_no_place_is_told_in_the_line_of_a_release_that_does_not_decide(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What only the faster one withholds is in its line; nobody looks how much that is."""
    await asked(rig)
    faster = await paused(rig)
    for n in range(3):
        await rig.start(f"y{n}", {"other": ()})
    slower = await paused(rig, "a")
    for n in range(3):  # one may go at once
        await rig.start(f"x{n}", CHAIN)
    for rule_id, rate in ((faster, 0.04), (slower, 0.02)):
        await rig.client.resume(rule_id=rule_id, rate_per_second=rate)
    looked_at: list[int] = []

    async def places(tx: Tx, places: Sequence[Any], most: int) -> list[Ahead]:
        looked_at.append(len(places))
        return await places_in_releases(tx, places, most)

    monkeypatch.setattr(known_steps, "places_in_releases", places)
    decides, other = (await why(rig, "a", "x2")).causes
    assert (decides.rule_id, other.rule_id, other.ahead) == (slower, faster, 0)
    assert looked_at == [1]


async def test_the_line_of_a_release_that_waits_for_dispatchers(rig: Rig) -> None:
    rule_id = await paused(rig)
    await rig.start("x", {f"s{n}": () for n in range(12)})
    await rig.client.resume(rule_id=rule_id, canary=10)
    await rig.client.resume(rule_id=rule_id, rate_per_second=1)

    async def does_wait() -> bool:
        return release_of(await rig.client.get_pause_rule(rule_id)).waiting_for_dispatchers

    await eventually(does_wait)
    cause = (await why(rig, "s11")).causes[0]
    assert (cause.kind, cause.ahead, cause.until) == ("RELEASE_QUEUE", 1, None)
    assert cause.text.endswith("it waits for dispatchers to take what it let go")
