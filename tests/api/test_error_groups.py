"""Groups of errors, and counts: what reading everything would say."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from rig import Rig

import zart
from zart import ExecutionFilter
from zart.calls.filtered import list_error_groups
from zart_server.domain.fingerprint import NEWEST, fingerprint
from zart_server.store.reads import group_counts

STEPS = {"charge-card": (), "send-mail": ()}


async def _die(rig: Rig, execution_id: str, *, task: str = "order", **messages: str) -> None:
    await rig.start(execution_id, STEPS, task=task)
    for leased in await rig.lease(task=task):
        message = messages.get(leased.step_name.replace("-", "_"))
        if message is None:
            await rig.complete(leased)
        else:
            await rig.fail(leased, message=message)


async def _groups(rig: Rig, **wanted: Any) -> list[tuple[str, str, str, int]]:
    listed = await rig.client.list_error_groups(ExecutionFilter(**wanted))
    return [(one.task_name, one.step_name, one.template, one.dead_steps) for one in listed]


async def test_what_differs_in_particulars_is_one_group(rig: Rig) -> None:
    before = datetime.now(UTC)
    for n in range(3):
        await _die(rig, f"x-{n}", charge_card=f"card {n} was declined")
    await _die(rig, "y", charge_card="card 9 was declined", send_mail="no route to 10.0.0.1:25")
    await _die(rig, "z", task="parcel", charge_card="card 1 was declined")

    declined, refused = "card <number> was declined", "no route to <address>"
    assert await _groups(rig, task_name="order") == [
        ("order", "charge-card", declined, 4),
        ("order", "send-mail", refused, 1),
    ]
    first, second = await rig.client.list_error_groups(ExecutionFilter(task_name="order"))
    group = fingerprint("Broken", "card 7 was declined", NEWEST)
    assert first.error_group_id == group.error_group_id
    assert first.sample_execution_ids == ("y", "x-2", "x-1", "x-0")
    assert first.type == "Broken"
    assert not first.dead_steps_is_lower_bound
    assert first.first_seen is not None
    assert first.last_seen is not None
    assert before <= first.first_seen <= first.last_seen <= datetime.now(UTC)
    assert second.first_seen == second.last_seen  # there was only one
    assert first.first_seen == (await rig.client.get_step("x-0", "charge-card")).completed_at
    one = [("order", "charge-card", declined, 1)]
    assert await _groups(rig, execution_id_prefix="x-1") == one
    assert await _groups(rig, error_contains="card 9") == one
    assert await _groups(rig, dead_before=before) == []
    assert len(await _groups(rig, dead_after=before)) == 3
    assert len(await _groups(rig, dead_after=before, created_after=before)) == 3
    assert await _groups(rig, step_pattern="send-*") == [("order", "send-mail", refused, 1)]
    assert len(await _groups(rig, error_group_id=first.error_group_id)) == 2
    assert await _groups(rig, statuses=["RUNNING"]) == []


async def test_groups_are_read_page_by_page(rig: Rig) -> None:
    for n, letters in enumerate(["a", "b", "b", "c"]):
        await _die(rig, f"x-{n}", charge_card=f"no {letters}")

    pages = [page async for page in rig.client.list_error_groups(page_size=1).pages()]

    found = [one.template for page in pages for one in page.items]
    assert found[0] == "no b"
    assert sorted(found) == ["no a", "no b", "no c"]


async def _die_of_many(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have four groups of three dead steps each, one of one, and count only two of each."""
    for n in range(12):
        await _die(rig, f"x-{n}", charge_card=f"no {'abcd'[n % 4]}")
    await _die(rig, "last", charge_card="no e")
    monkeypatch.setattr(group_counts, "_LOOKED_AT", 12)
    monkeypatch.setattr(group_counts, "_FEW", 5)
    monkeypatch.setattr(group_counts, "_MANY", 12)
    monkeypatch.setattr(group_counts, "_ARE_FEW_PAGES", "SELECT false")


@pytest.mark.parametrize("wanted", [ExecutionFilter(), ExecutionFilter(statuses=["FAILED"])])
async def test_no_large_group_is_left_out_as_another_one_goes_between_two_pages(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, wanted: ExecutionFilter
) -> None:
    """Of fewer groups more would be counted of each: none had a place behind the first page."""
    await _die_of_many(rig, monkeypatch)
    found: list[tuple[str, int]] = []
    async for page in rig.client.list_error_groups(wanted, page_size=2).pages():
        if not found:
            await rig.client.retry_step("last", "charge-card")
        found += [(one.template, one.dead_steps) for one in page.items]
    assert sorted(found) == [("no a", 2), ("no b", 2), ("no c", 2), ("no d", 2)]


@pytest.mark.parametrize("wanted", [ExecutionFilter(), ExecutionFilter(statuses=["FAILED"])])
async def test_no_large_group_is_told_again_as_another_one_comes_between_two_pages(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, wanted: ExecutionFilter
) -> None:
    await _die_of_many(rig, monkeypatch)
    await rig.client.retry_step("last", "charge-card")
    found: list[tuple[str, int]] = []
    async for page in rig.client.list_error_groups(wanted, page_size=2).pages():
        if not found:
            await rig.complete(*await rig.lease(task="order"))
            await _die(rig, "another", charge_card="no e")
        found += [(one.template, one.dead_steps) for one in page.items]
    assert sorted(found) == [
        ("no a", 3), ("no b", 3), ("no c", 3), ("no d", 3), ("no e", 1),
    ]  # fmt: skip


async def test_a_page_goes_on_by_a_token_of_the_servers_making_only(rig: Rig) -> None:
    for n, letters in enumerate(["a", "b", "b"]):
        await _die(rig, f"x-{n}", charge_card=f"no {letters}")
    told = (await rig.client.send(list_error_groups(page_size=1))).next_page_token
    binding, place = json.loads(base64.urlsafe_b64decode(told + "=" * (-len(told) % 4)))

    def token(place: str) -> str:
        made = json.dumps([binding, place], separators=(",", ":"))
        return base64.urlsafe_b64encode(made.encode()).decode().rstrip("=")

    count, _, most = place.split(":")
    assert (count, most) == ("2", "0")
    call = list_error_groups(page_size=1, page_token=token(place))
    assert [one.template for one in (await rig.client.send(call)).items] == ["no a"]
    for wrong in ("2", "2:1", "2:1:x", "2:1:0:0"):
        with pytest.raises(zart.errors.InvalidField, match="page_token"):
            await rig.client.send(list_error_groups(page_size=1, page_token=token(wrong)))


async def test_what_is_revived_is_in_no_group(rig: Rig) -> None:
    await _die(rig, "x", charge_card="no")
    await rig.client.retry_step("x", "charge-card")

    assert await _groups(rig) == []


async def test_an_unknown_group_is_not_found(rig: Rig) -> None:
    with pytest.raises(zart.errors.ErrorGroupNotFound):
        await _groups(rig, error_group_id="eg-1abcdefg")


@pytest.mark.parametrize("wanted", [{"step_statuses": ["PAUSED"]}, {"rule_id": "pr-1"}])
async def test_only_what_is_dead_has_groups(rig: Rig, wanted: dict[str, Any]) -> None:
    with pytest.raises(zart.errors.InvalidField):
        await _groups(rig, **wanted)


async def test_counts_are_what_there_is(rig: Rig) -> None:
    await _die(rig, "dead", charge_card="no")
    await _die(rig, "done")
    await _die(rig, "other", task="parcel")
    await rig.client.pause(execution_id="held", step_pattern="send-*")
    await rig.start("held", STEPS, task="order")

    async def counted(**wanted: Any) -> tuple[int, dict[str, int], dict[str, int]]:
        found = await rig.client.count_executions(ExecutionFilter(**wanted))
        assert not found.total_is_lower_bound
        assert not found.by_step_status_is_lower_bound
        return (
            found.total,
            {one.status.value: one.executions for one in found.by_status},
            {one.status.value: one.executions for one in found.by_step_status},
        )

    assert await counted(task_name="order") == (
        3,
        {"COMPLETED": 1, "FAILED": 1, "SCHEDULED": 1},
        {"COMPLETED": 2, "DEAD": 1, "PAUSED": 1, "SCHEDULED": 1},
    )
    assert (await rig.client.count_executions()).total == 4
    assert await counted(step_pattern="charge-*") == (1, {"FAILED": 1}, {"COMPLETED": 1, "DEAD": 1})
    assert await counted(task_name="nobody's") == (0, {}, {})
