"""Very many kinds of errors: a filter finds those that it names, and a refusal asks for more."""

from __future__ import annotations

from typing import Any

import pytest
from rig import Rig

import zart
from zart import ExecutionFilter
from zart_server.store.reads import dead_groups

_MOST = 2_000  # that are listed
_KINDS = """
    INSERT INTO zart.error_groups (group_key, error_group_id, task_name, step_name, type, template)
    SELECT n, {id}, {task}, {step}, 'Broken', 'no ' || n FROM generate_series({first}, {last}) n
"""
# Of steps that the run does not have: what has no error is not regrouped by it.
_DEAD = """
    INSERT INTO zart.dead_steps (run_key, step_no, execution_key, group_key, listed_at, died_at)
    SELECT run_key, 100 + {first} + n, execution_key, {first} + n, listed_at, now()
    FROM zart.runs, generate_series(0, {last} - {first}) n
"""
_ONE, _ALL = "eg-1aaaaaaa", "eg-1bbbbbbb"  # groups


async def _die(
    rig: Rig,
    first: int,
    last: int,
    *,
    task: str = "'order'",
    step: str = "'step-' || n",
    group: str = "'eg-' || n",
) -> None:
    """Have a step be dead of each of so many kinds, which have these numbers; SQL says of what."""
    values = {"first": first, "last": last}
    await rig.db.execute(_KINDS.format(id=group, task=task, step=step, **values))
    await rig.db.execute(_DEAD.format(**values))


async def _found(rig: Rig, **wanted: Any) -> list[tuple[str, str]]:
    groups = await rig.client.list_error_groups(ExecutionFilter(**wanted))
    return sorted((one.task_name, one.step_name) for one in groups)


async def _refused(rig: Rig, why: str = "more than 2,000 groups match", **wanted: Any) -> str:
    with pytest.raises(zart.errors.FilterTooBroad, match=why) as refused:
        await _found(rig, **wanted)
    field = refused.value.metadata["field"]
    assert refused.value.message.startswith(f"{field}: ")
    return field


async def test_what_a_filter_names_is_found_beside_any_number_of_others(rig: Rig) -> None:
    await rig.start("x", task="order")
    await _die(rig, 1, _MOST)
    await _die(rig, _MOST + 1, _MOST + 1, task="'parcel'", step="'pay'", group=f"'{_ONE}'")

    pay, last = ("parcel", "pay"), ("order", f"step-{_MOST}")
    assert await _found(rig, task_name="parcel") == [pay]
    assert await _found(rig, step_pattern="pay") == [pay]
    assert await _found(rig, error_group_id=_ONE) == [pay]
    assert await _found(rig, error_group_id=_ONE, task_name="order") == []
    assert await _found(rig, task_name="order", step_pattern=f"step-{_MOST}") == [last]
    assert len(await _found(rig, task_name="order")) == _MOST
    assert await _refused(rig) == "filter.task_name"


async def test_a_refusal_asks_for_what_is_not_set(rig: Rig) -> None:
    await rig.start("x", task="order")
    await _die(rig, 1, _MOST + 1, group=f"'{_ALL}'")

    assert await _refused(rig) == "filter.task_name"
    assert await _refused(rig, step_pattern="step-*") == "filter.task_name"
    assert await _refused(rig, error_group_id=_ALL) == "filter.task_name"
    assert await _refused(rig, task_name="order") == "filter.step_pattern"
    assert await _refused(rig, task_name="order", error_group_id=_ALL) == "filter.step_pattern"
    both = {"task_name": "order", "step_pattern": "step-*"}
    assert await _refused(rig, **both) == "filter.error_group_id"
    with pytest.raises(zart.errors.FilterTooBroad, match=r"step_pattern: has to match fewer steps"):
        await _found(rig, error_group_id=_ALL, **both)
    assert await _found(rig, **{**both, "step_pattern": "step-7"}) == [("order", "step-7")]


_OF_GROUP: dict[str, Any] = {"error_group_id": _ALL}
_OF_TASK: dict[str, Any] = {"task_name": "order"}


@pytest.mark.parametrize(
    ("bounds", "wanted", "field"),
    [
        ({"of all": 3}, {"step_pattern": "step-1"}, "filter.task_name"),
        ({"of all": 3}, _OF_TASK, None),
        ({"of all": 3, "of task": 3}, _OF_TASK, "filter.error_group_id"),
        ({"of all": 3, "of task": 3}, _OF_TASK | {"step_pattern": "*"}, "filter.error_group_id"),
        ({"of all": 3, "of task": 3}, _OF_TASK | _OF_GROUP, None),
        ({"of id": 1, "of all": 3, "of task": 3}, _OF_TASK | _OF_GROUP, "filter.error_group_id"),
        ({}, _OF_GROUP, None),
        ({"of id": 1}, _OF_GROUP, None),
        ({"of id": 1, "of all": 3}, _OF_GROUP, "filter.task_name"),
        ({"of id": 1, "of all": 3}, _OF_GROUP | _OF_TASK, None),
    ],
)
async def test_no_more_kinds_are_looked_at_than_there_is_time_for(
    rig: Rig,
    monkeypatch: pytest.MonkeyPatch,
    bounds: dict[str, int],
    wanted: dict[str, Any],
    field: str | None,
) -> None:
    await rig.start("x", task="order")
    await _die(rig, 1, 2, group=f"'{_ALL}'")
    await _die(rig, 3, 4, task="'parcel'", step="'pay-' || n")
    # No step is dead of these any more.
    old = {"id": f"'{_ALL}'", "task": "'order'", "step": "'old-' || n"}
    await rig.db.execute(_KINDS.format(first=5, last=5 + _MOST, **old))
    ways = [
        way._replace(looked_at=bounds.get(way.name, way.looked_at)) for way in dead_groups._WAYS
    ]
    monkeypatch.setattr(dead_groups, "_WAYS", ways)

    if field is None:
        assert await _found(rig, **wanted) == [("order", "step-1"), ("order", "step-2")]
    else:
        assert await _refused(rig, "more than 3 kinds of errors would have to", **wanted) == field


async def test_the_few_kinds_of_a_task_are_looked_at_before_all_that_are_live(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All are 20,000 or more, which takes a few hundred times as long."""
    await rig.start("x", task="order")
    await _die(rig, 1, 4)
    await _die(rig, 5, 8, task="'parcel'")
    _, first, *others = dead_groups._WAYS
    none = [way._replace(looked_at=0) for way in others]

    monkeypatch.setattr(dead_groups, "_WAYS", [first._replace(looked_at=4), *none])
    assert len(await _found(rig, task_name="order")) == 4
    monkeypatch.setattr(dead_groups, "_WAYS", [first._replace(looked_at=3), *others])
    assert len(await _found(rig, task_name="order")) == 4
