"""A loop that waits to be kicked does so once all is known to have gone well."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
from waiting import until

from zart_server.domain.errors import StoreConflict
from zart_server.engine.background import failing, loop
from zart_server.engine.background.loop import WAITS, BackgroundLoop


class Kicked(BackgroundLoop):
    """Has nothing to do unless it is kicked; some of its turns fail at one of several."""

    def __init__(self) -> None:
        super().__init__("kicked", first=None)
        self.turns = 0
        self.to_fail = 0  # turns
        self.beside = False

    @property
    def is_beside(self) -> bool:
        """Whether something is under way beside the turns."""
        return self.beside

    async def turn(self) -> float | None:
        """Fail, or not, and wait to be kicked."""
        self.turns += 1
        await self.one_of_several(self._work())
        return None

    async def _work(self) -> None:
        if self.to_fail:
            self.to_fail -= 1
            raise StoreConflict


@pytest.fixture
async def kicked(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Kicked]:
    """One that tries again soon, and of which no failure stays for long."""
    monkeypatch.setattr(loop, "_AGAIN", 0.01)
    monkeypatch.setattr(failing, "_STAYS", 0.05)
    made = Kicked()
    made.start()
    yield made
    await made.stop()


def is_well(kicked: Kicked) -> Callable[[], bool]:
    """Return what tells whether it does not fail."""
    return lambda: kicked.failing.seconds() == 0


async def test_it_is_well_again_though_nobody_kicks_it(kicked: Kicked) -> None:
    kicked.to_fail = 1
    kicked.kick()
    await until(lambda: kicked.failures[WAITS])
    assert kicked.failing.seconds() > 0
    await until(is_well(kicked))
    assert kicked.turns == 2  # and it waits


async def test_it_is_well_again_after_what_failed_beside_it(kicked: Kicked) -> None:
    """In the turn in which that began, all had gone well."""
    kicked.beside = True
    kicked.kick()
    await until(lambda: kicked.turns)
    kicked.count(StoreConflict())
    kicked.beside = False
    await until(is_well(kicked))
    turns = kicked.turns
    kicked.kick()
    await until(lambda: kicked.turns > turns)
    assert kicked.turns == turns + 1
