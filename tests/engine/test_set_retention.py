"""For how long executions are kept: as servers are set, and as is set by task."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from rig import Rig

import zart
from zart import errors
from zart.testing.server import ServerUnderTest, serving
from zart_server.settings import Settings, SettingsError


@pytest.fixture
def zart_server(zart_database: str) -> Iterator[ServerUnderTest]:
    """A server by which executions are kept for 60 days, and operations for 400."""
    with serving(zart_database, retention="60d", operations_retention="400d") as server:
        yield server


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"retention": "soon"}, "ZART_RETENTION: 'soon' is not a time such as 30d"),
        ({"retention": "0d"}, "ZART_RETENTION: 0d must be more than nothing"),
        (
            {"retention": "30d", "operations_retention": "29d"},
            "ZART_OPERATIONS_RETENTION must not be shorter than ZART_RETENTION",
        ),
    ],
)
def test_times_that_cannot_be_meant_are_refused(given: dict[str, str], problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        Settings.load(database_url="postgresql://u@h/d", **given)


def test_times_are_written_as_people_say_them() -> None:
    kept = Settings.load(
        database_url="postgresql://u@h/d", retention="36h", operations_retention="400d"
    ).kept
    assert kept == (timedelta(hours=36), timedelta(days=400))


async def test_what_is_set_is_told(rig: Rig) -> None:
    await rig.client.set_retention("t", 86_400, reason="auditors")
    changed = await rig.client.set_retention("t", None, request_id="r")
    again = await rig.client.set_retention("t", None, request_id="r")
    assert (changed.replayed, again.replayed) == (False, True)
    assert again.retention == changed.retention
    await rig.client.set_retention("u", timedelta(hours=1))
    listed = await rig.client.list_retention(page_size=1)
    assert [(t.task_name, t.keep_for) for t in listed] == [("t", None), ("u", timedelta(hours=1))]
    assert await rig.client.get_retention() == zart.models.ServerRetention(
        timedelta(days=60), timedelta(days=400)
    )
    assert (await rig.client.unset_retention("t")).was == changed.retention
    assert (await rig.client.unset_retention("t")).was is None
    with pytest.raises(errors.InvalidField):
        await rig.client.set_retention("t", 0)
    recorded = await rig.client.list_operations(kind="SET_RETENTION")
    assert [o.made.keep_for if o.made else None for o in recorded] == [
        timedelta(hours=1), None, timedelta(days=1),
    ]  # fmt: skip
