"""The audit by whatever is asked for: who, when, of which incident, and what was refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from api.test_audit_trail import recorded
from rig import CHAIN, Rig

from zart import errors
from zart.calls.audit import list_operations
from zart.models import Operation, OperationKind

_EPOCH = datetime(2020, 1, 1, tzinfo=UTC)


ASKED: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["RESUME", "CANCEL", "RESTART", "PAUSE", "START", "START"]),
    ({"incident": "INC-7"}, ["RESUME", "RESTART", "PAUSE"]),
    ({"triggered_by": "bob"}, ["CANCEL", "RESTART"]),
    ({"triggered_by": "bob", "incident": "INC-7"}, ["RESTART"]),
    ({"triggered_by": "tester"}, []),  # starts are left out
    ({"triggered_by": "tester", "kinds": ["START"], "created_after": _EPOCH}, ["START"] * 2),
    ({"kinds": ["START", "PAUSE"], "created_after": _EPOCH}, ["PAUSE", "START", "START"]),
    ({"kind": "START"}, ["START", "START"]),
    ({"kinds": ["PAUSE", "CANCEL"]}, ["CANCEL", "PAUSE"]),
    ({"execution_id": "x"}, ["RESTART", "START"]),
    ({"execution_id": "x", "kinds": ["START"]}, ["START"]),
    ({"execution_id": "x", "triggered_by": "bob"}, ["RESTART"]),
    ({"execution_id": "x", "triggered_by": "tester"}, []),  # the start
    ({"execution_id": "x", "triggered_by": "tester", "kinds": ["START"]}, ["START"]),
    ({"execution_id": "x", "created_after": _EPOCH}, ["RESTART"]),
    ({"execution_id": "x", "statuses": ["DONE", "REFUSED"]}, ["RETRY_STEP", "RESTART", "START"]),
    ({"created_after": _EPOCH}, ["RESUME", "CANCEL", "RESTART", "PAUSE"]),
    ({"created_before": _EPOCH}, []),
    ({"principal": "nobody"}, []),
    ({"batch_id": "b"}, []),
    ({"breaker_id": "br-1"}, []),
    ({"statuses": ["REFUSED"]}, ["RESUME", "RETRY_STEP"]),
    ({"statuses": ["PLANNED"]}, []),
    ({"statuses": ["REFUSED"], "incident": "INC-7"}, ["RETRY_STEP"]),
    ({"statuses": ["REFUSED"], "kinds": ["RESUME"]}, ["RESUME"]),
    ({"statuses": ["REFUSED"], "execution_id": "x"}, ["RETRY_STEP"]),
    ({"statuses": ["REFUSED"], "created_after": _EPOCH}, ["RESUME", "RETRY_STEP"]),
    ({"statuses": ["REFUSED"], "created_before": _EPOCH}, []),
    (
        {"statuses": ["DONE", "REFUSED"], "incident": "INC-7"},
        ["RESUME", "RETRY_STEP", "RESTART", "PAUSE"],
    ),
    (
        {"statuses": ["DONE", "REFUSED", "PLANNED"], "triggered_by": "ann"},
        ["RESUME", "RESUME", "PAUSE"],
    ),
    ({"include_batch_items": True, "incident": "INC-7"}, ["RESUME", "RESTART", "PAUSE"]),
    # Nothing but these leaves starts in.
    ({"include_batch_items": True}, ["RESUME", "CANCEL", "RESTART", "PAUSE", "START", "START"]),
    ({"statuses": ["DONE"]}, ["RESUME", "CANCEL", "RESTART", "PAUSE", "START", "START"]),
]


def ours(operations: list[Operation]) -> list[Operation]:
    """Leave out what the server did by itself, whenever that was."""
    return [operation for operation in operations if operation.kind is not OperationKind.DRAIN]


def kinds(operations: list[Operation]) -> list[str]:
    return [str(operation.kind) for operation in ours(operations)]


@pytest.fixture
async def audited(rig: Rig) -> Rig:
    """What happens in an incident, by two people, one of whom was refused."""
    call = rig.client
    await rig.start("x", CHAIN)
    await rig.start("y", CHAIN, task="u")
    rule = await call.pause(task_name="t", triggered_by="ann", incident="INC-7")
    await call.restart("x", triggered_by="bob", incident="INC-7")
    with pytest.raises(errors.StepNotDead):
        await call.retry_step("x", "a", triggered_by="bob", incident="INC-7")
    await call.cancel_execution("y", triggered_by="bob")
    with pytest.raises(errors.PauseRuleNotFound):
        await call.resume(rule_id="pr-other", triggered_by="ann")
    await recorded(rig.db, 2)
    await call.resume(rule_id=rule.rule_id, triggered_by="ann", incident="INC-7")
    return rig


async def test_what_matches_all_that_is_asked_for(audited: Rig) -> None:
    for asked, found in ASKED:
        listed = await audited.client.list_operations(**asked)
        assert (asked, kinds(listed)) == (asked, found)
        by_ones = [
            operation
            async for page in audited.client.list_operations(**asked, page_size=1).pages()
            for operation in page.items
        ]
        assert ours(by_ones) == ours(listed)


async def test_by_rule(audited: Rig) -> None:
    [rule] = await audited.client.list_pause_rules(include_deleted=True)
    found = await audited.client.list_operations(rule_id=rule.rule_id)
    assert kinds(found) == ["RESUME", "PAUSE"]


async def test_by_breaker(rig: Rig) -> None:
    other, breaker_id = [
        (await rig.client.create_breaker(task_name="t", failure_threshold=1, window=60)).breaker_id
        for _ in range(2)
    ]
    for each in (other, breaker_id):
        await rig.client.trip_breaker(each)
    await rig.client.reset_breaker(breaker_id)
    with pytest.raises(errors.InvalidField):
        await rig.client.update_breaker(breaker_id, failure_threshold=0)
    await recorded(rig.db, 1)
    found = await rig.client.list_operations(breaker_id=breaker_id)
    assert kinds(found) == ["BREAKER_CLOSED", "BREAKER_OPENED", "CREATE_BREAKER"]
    refused = await rig.client.list_operations(breaker_id=breaker_id, statuses=["REFUSED"])
    assert kinds(refused) == ["UPDATE_BREAKER"]


async def test_a_refusal_says_why(audited: Rig) -> None:
    [resume, retry] = await audited.client.list_operations(statuses=["REFUSED"])
    assert retry.status == "REFUSED"
    assert retry.refusal is not None
    assert (retry.refusal.reason, retry.refusal.code) == ("STEP_NOT_DEAD", "FAILED_PRECONDITION")
    assert retry.refusal.metadata["status"] == "PAUSED"
    assert (retry.execution_id, retry.step_name, retry.triggered_by) == ("x", "a", "bob")
    assert (resume.rule_id, resume.operation_id > retry.operation_id) == ("pr-other", True)
    done = await audited.client.list_operations()
    assert all(o.status == "DONE" and o.refusal is None for o in done)
    assert not {o.operation_id for o in done} & {resume.operation_id, retry.operation_id}


async def test_times_are_exact(audited: Rig) -> None:
    call = audited.client
    _, _, restart, _, *_ = everything = ours(await call.list_operations())
    at = restart.created_at
    assert at is not None
    just_after = at + timedelta(microseconds=1)
    assert kinds(await call.list_operations(created_after=at)) == ["RESUME", "CANCEL", "RESTART"]
    assert kinds(await call.list_operations(created_after=just_after)) == ["RESUME", "CANCEL"]
    assert kinds(await call.list_operations(created_before=at)) == ["PAUSE"]
    assert kinds(await call.list_operations(created_before=just_after)) == ["RESTART", "PAUSE"]
    starts = await call.list_operations(kinds=["START"], created_after=_EPOCH, created_before=at)
    assert starts == everything[-2:]


async def test_times_at_their_bounds(audited: Rig) -> None:
    first = datetime(1, 1, 1, tzinfo=UTC)
    last = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    call = audited.client
    between = await call.list_operations(created_after=first, created_before=last)
    assert kinds(between) == ["RESUME", "CANCEL", "RESTART", "PAUSE"]
    assert await call.list_operations(created_after=last) == []
    assert await call.list_operations(created_before=first) == []


async def test_starts_are_not_looked_for_among_all_there_ever_were(rig: Rig) -> None:
    too_broad: list[dict[str, Any]] = [
        {"kinds": ["START"]},
        {"kind": "START", "triggered_by": "bob"},
    ]
    for asked in too_broad:
        with pytest.raises(errors.FilterTooBroad) as refused:
            await rig.client.list_operations(**asked)
        assert list(refused.value.fields) == ["created_after"]
        assert refused.value.metadata == {"field": "created_after"}
    assert await rig.client.list_operations(kinds=["START"], statuses=["REFUSED"]) == []


async def test_what_is_found_by_time_is_found_by_keys(rig: Rig) -> None:
    """Keys are in the order of time, with gaps, and but for what was under way at one moment."""
    await rig.db.execute(
        """
        INSERT INTO zart.operations (operation_key, kind, triggered_by, reason, request_id,
                                     created_at)
        OVERRIDING SYSTEM VALUE
        SELECT n * 1000 + n % 7, 'pause', 'ann', n::text, '',
               '2026-01-01Z'::timestamptz + n * interval '1 hour' + n % 3 * interval '20 seconds'
        FROM generate_series(1, 500) n
        """
    )
    start = datetime(2026, 1, 1, tzinfo=UTC)
    found = await rig.client.list_operations(
        created_after=start + timedelta(hours=100), created_before=start + timedelta(hours=400)
    )
    assert [int(o.reason) for o in found] == list(range(399, 99, -1))
    assert await rig.client.list_operations(created_after=start + timedelta(hours=501)) == []


BAD: list[tuple[dict[str, Any], str]] = [
    ({"kind": "PAUSE", "kinds": ["RESUME"]}, "kind"),
    ({"incident": "x" * 65}, "incident"),
    ({"triggered_by": "a\x00"}, "triggered_by"),
]


async def test_a_bad_filter_is_refused(rig: Rig) -> None:
    for asked, field in BAD:
        with pytest.raises(errors.InvalidField) as refused:
            await rig.client.list_operations(**asked)
        assert list(refused.value.fields) == [field]
    for name in ("statuses", "kinds"):
        call = list_operations()
        getattr(call.request, name).append(0)  # which our client does not send
        with pytest.raises(errors.InvalidField) as refused:
            await rig.client.send(call)
        assert list(refused.value.fields) == [f"{name}[0]"]


async def test_plans_are_on_record(rig: Rig) -> None:
    call = rig.client
    await rig.start("x", CHAIN)
    planned = await call.restart("x", validate_only=True, triggered_by="ann", incident="INC-7")
    await call.cancel_execution("x", validate_only=True)
    await call.restart("x", plan_token=planned.plan_token, triggered_by="ann", incident="INC-7")
    await recorded(rig.db, 2)

    plans = await call.list_operations(statuses=["PLANNED"])
    assert [(o.kind, o.status, o.execution_id) for o in plans] == [
        ("CANCEL", "PLANNED", "x"),
        ("RESTART", "PLANNED", "x"),
    ]
    assert all(o.refusal is None for o in plans)
    of_incident = await call.list_operations(statuses=["PLANNED", "DONE"], incident="INC-7")
    assert [(o.kind, o.status) for o in of_incident] == [
        ("RESTART", "DONE"),
        ("RESTART", "PLANNED"),
    ]
