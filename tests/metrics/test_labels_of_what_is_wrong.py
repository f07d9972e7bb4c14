"""Where there are more tasks than labels, those of which something is wrong have them, and keep them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, cast

import pytest

from zart_server.engine.dispatch.tally import Tally
from zart_server.metrics.database import OfTheDatabase
from zart_server.metrics.reading import DatabaseReader, DatabaseReading
from zart_server.store.db import Database
from zart_server.store.reads.backlog import Dead
from zart_server.store.reads.standing import BreakersInState

MOST, BUSY, LOADS = 3, 10, (0, 1, 7, 90, 4_000)
WRONG: dict[tuple[str, str], dict[str, Any]] = {
    ("zart_steps", "dead"): {"dead": [Dead("z", 1.0, 0.0)]},
    ("zart_failed_runs", ""): {"dead": [Dead("z", 1.0, 1.0)]},
    ("zart_in_doubt_attempts", ""): {"in_doubt": {"z": 1}},
    ("zart_breakers", "open"): {"breakers": [BreakersInState("z", "open", 1)]},
    ("zart_breakers", "half_open"): {"breakers": [BreakersInState("z", "half_open", 1)]},
    ("zart_oldest_ready_step_age_seconds", ""): {"oldest": {"z": 400.0, "t1": 3.0}},
}


class Read:
    """Has read what it is given."""

    def __init__(self, reading: DatabaseReading) -> None:
        self._reading = reading

    def newest(self) -> DatabaseReading:
        """Return that."""
        return self._reading


def labels_of(reading: DatabaseReading, name: str, status: str) -> set[str]:
    """Return the labels that tasks have in a family, of series that are not 0."""
    collector = OfTheDatabase(cast("DatabaseReader", Read(reading)), Tally(), MOST)
    (family,) = [each for each in collector.collect() if each.name == name]
    return {
        sample.labels["task"]
        for sample in family.samples
        if sample.value and sample.labels.get("status", "") == status
    }


def busy(reading: DatabaseReading, turn: int) -> DatabaseReading:
    """Return a reading in which each of many tasks has another load in each turn."""
    return replace(
        reading,
        lanes={lane: f"t{lane}" for lane in range(BUSY)},
        queued={lane: LOADS[(lane + turn) % len(LOADS)] for lane in range(BUSY)},
    )


@pytest.fixture
async def empty(opened: Database) -> DatabaseReading:
    """A reading of a database in which nothing is."""
    return await DatabaseReader(opened, asyncio.get_running_loop())._read()


@pytest.mark.parametrize(("name", "status"), WRONG)
@pytest.mark.parametrize("turn", range(len(LOADS)))
async def test_a_lone_task_with_something_wrong_has_its_label_whatever_the_load(
    empty: DatabaseReading, name: str, status: str, turn: int
) -> None:
    reading = replace(busy(empty, turn), **WRONG[name, status])
    assert "z" in labels_of(reading, name, status)


async def test_of_many_with_something_wrong_the_same_have_labels_whatever_the_load(
    empty: DatabaseReading,
) -> None:
    """The first names of those with most of it; what only waits for long comes after these."""
    dead = [Dead(f"t{n}", 3.0 if n == BUSY - 1 else 1.0, 0.0) for n in range(1, BUSY)]
    for turn in range(len(LOADS)):
        reading = replace(busy(empty, turn), dead=dead, oldest={"t0": 9000.0, "t8": 9000.0})
        assert labels_of(reading, "zart_steps", "dead") == {"t1", "t2", "t9", "other"}


async def test_no_number_of_dead_steps_takes_the_label_of_an_open_breaker_or_a_doubt(
    empty: DatabaseReading,
) -> None:
    """Those may be of long ago: an open breaker comes first, then what is in doubt."""
    reading = replace(
        busy(empty, 0),
        dead=[Dead(f"t{n}", 50.0, 50.0) for n in range(BUSY)],
        in_doubt={"d": 1, "t1": 1},
        breakers=[BreakersInState("z", "open", 1)],
    )
    assert labels_of(reading, "zart_breakers", "open") == {"z"}
    assert labels_of(reading, "zart_in_doubt_attempts", "") == {"d", "t1"}
