"""Failures to authenticate cost little, are logged once and not for ever, and harm nobody else."""

from __future__ import annotations

import asyncio
import itertools
import logging
from datetime import timedelta

import grpc
import pytest
from issuing import Connect
from rig import eventually, specs, until_polled

import zart
from zart import errors
from zart.json_log import EventRecord
from zart.testing.server import serving
from zart_server.api.access import AccessControl
from zart_server.api.peer import address_of
from zart_server.domain.errors import InvalidCredentials
from zart_server.identity import failures
from zart_server.identity.authenticator import Authenticator
from zart_server.identity.failures import Failures


def _refusals(caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    """The lines about refused calls, as the server logs them."""
    return [
        {**record.fields, "level": record.levelname.lower()}
        for record in caplog.records
        if isinstance(record, EventRecord) and record.msg == "refused"
    ]


async def test_a_refused_call_is_one_line_with_principal_method_and_reason(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with pytest.raises(errors.MissingCredentials):
        await connect("").list_executions()
    with pytest.raises(errors.InvalidCredentials):
        await connect("stranger").list_executions()
    with pytest.raises(errors.RoleRequired):
        await connect("viewer").restart("x")

    lines = [
        {key: line.get(key) for key in ("level", "principal", "method", "code", "reason", "why")}
        for line in _refusals(caplog)
    ]
    lists = "/zart.v1.ExecutionService/ListExecutions"
    assert lines == [
        {"level": "warning", "principal": None, "method": lists, "code": "UNAUTHENTICATED",
         "reason": "MISSING_CREDENTIALS", "why": ""},
        {"level": "warning", "principal": None, "method": lists, "code": "UNAUTHENTICATED",
         "reason": "INVALID_CREDENTIALS", "why": "not a known token"},
        {"level": "warning", "principal": "viewer", "method": "/zart.v1.AdminService/Restart",
         "code": "PERMISSION_DENIED", "reason": "ROLE_REQUIRED", "why": None},
    ]  # fmt: skip


async def test_too_many_are_told_to_wait_and_nobody_else_is(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    attacker, valid = connect("stranger"), connect("starter")
    answers: list[timedelta | None] = []
    loop = asyncio.get_running_loop()
    begun = loop.time()
    for n in itertools.count():  # a busy machine gives the bucket time to fill again
        if len(answers) - answers.count(None) == 4:
            break
        with pytest.raises(errors.InvalidCredentials) as caught:
            await attacker.list_executions()
        answers.append(caught.value.retry_after)
        if n % 6 == 0:  # from the same address
            await valid.start("t", execution_id=f"x{n}", steps=specs({"a": ()}))
    took = loop.time() - begun

    assert answers[:20] == [None] * 20
    waits = [wait for wait in answers if wait is not None]
    assert took >= sum(wait.total_seconds() for wait in waits)  # it was made to
    assert all(0 < wait.total_seconds() <= 1 for wait in waits)
    assert len(_refusals(caplog)) == len(answers) - len(waits)


def test_a_bucket_fills_again_and_says_what_was_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    counted = Failures()
    noted = [counted.note("ipv4:1.2.3.4") for _ in range(25)]
    assert [n.retry_after for n in noted] == [None] * 20 + [1.0] * 5
    assert counted.note("ipv4:5.6.7.8").retry_after is None

    now += 0.25
    assert counted.note("ipv4:1.2.3.4").retry_after == 0.75
    now += 1.0
    noted_again = counted.note("ipv4:1.2.3.4")
    assert (noted_again.retry_after, noted_again.untold) == (None, 6)


def test_addresses_without_end_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "_ADDRESSES", 3)
    counted = Failures()
    for n in range(10):
        for _ in range(21):
            last = counted.note(f"ipv4:1.2.3.{n}")
        assert last.retry_after is not None

    assert counted.note("ipv4:1.2.3.0").retry_after is None


async def test_what_nobody_foresaw_is_a_failure_too(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as liked were told to the log in full."""

    async def broken(*_: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(Authenticator, "identify", broken)
    for _ in range(20):
        with pytest.raises(errors.InternalError):
            await connect("stranger").list_executions()

    async def is_one_too_many() -> bool:  # a busy machine gives the bucket time to fill again
        with pytest.raises(errors.ZartError) as caught:
            await connect("stranger").list_executions()
        return isinstance(caught.value, errors.InvalidCredentials)

    await eventually(is_one_too_many)


def test_of_ipv6_a_network_is_one_address() -> None:
    """Each of its addresses had twenty failures, and there is no end of them."""
    access = AccessControl(Authenticator(None, None, None, None))
    found = [InvalidCredentials("why") for _ in range(30)]
    for n, error in enumerate(found):
        access.note(error, f"ipv6:%5B2001:db8::{n:x}%5D:{50_000 + n}")
    assert [error.retry_after is None for error in found] == [True] * 20 + [False] * 10
    access.note(other := InvalidCredentials("why"), "ipv6:%5B2001:db8:0:1::1%5D:50000")
    assert other.retry_after is None


def test_what_counts_as_one_address() -> None:
    assert address_of("ipv6:[2001:db8::1]:1") == address_of("ipv6:%5B2001:db8::ffff:1%5D:2")
    assert address_of("ipv6:[fe80::1%25eth0]:1") == address_of("ipv6:[fe80::2]:2")
    for peer in ("ipv4:192.0.2.1", "ipv6:%5B::1%5D", "ipv6:[::ffff:192.0.2.1]", "unix", "ipv6:x"):
        assert address_of(f"{peer}:50000") == peer


async def test_one_call_too_many_is_told_to_go_elsewhere(zart_database: str) -> None:
    with serving(zart_database, max_calls=1, max_waiting_calls=2) as server:
        async with zart.connect(server.address) as client:
            polls = [asyncio.create_task(client.lease_tasks("d", ["t"], wait=60)) for _ in range(2)]
            await until_polled(server, 2)
            with pytest.raises(errors.ServerBusy) as busy:
                await client.lease_tasks("d", ["t"], wait=30)
            assert busy.value.code is grpc.StatusCode.UNAVAILABLE
            assert busy.value.retry_after is not None

            # Long polls leave room for the others, and each gives its place back.
            for n in range(3):
                await client.start("t", execution_id=f"x{n}", steps=specs({"a": ()}))
            assert [len(tasks) for tasks in await asyncio.gather(*polls)] == [1, 1]
            assert len(await client.lease_tasks("d", ["t"], wait=1)) == 1
