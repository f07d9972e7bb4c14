"""A page ends early at 8 MiB: whatever its items weigh, it can be read, and none is passed over."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import pytest
from api.test_inputs import send
from batching import ONE, until_batch
from doubts import in_doubt
from rig import Rig, specs

import zart
from zart.gateway.bindings import all_services
from zart.testing.server import ServerUnderTest
from zart.v1 import admin_service_pb2 as admin
from zart.v1 import audit_service_pb2 as audit
from zart.v1 import batch_service_pb2 as batches
from zart.v1 import breaker_service_pb2 as breakers
from zart.v1 import execution_service_pb2 as execution
from zart.v1 import retention_service_pb2 as retention
from zart_server.domain.filters import ExecutionFilter
from zart_server.domain.operations import ListOperations, OperationKind
from zart_server.store.batches.rows import list_batches
from zart_server.store.connection import Connection
from zart_server.store.db import Database
from zart_server.store.reads import list_in_doubt, list_operations

MIB = 1024 * 1024
TOKEN = 1024  # bytes, at most
THREE = range(3)
DEATHS = "no card", "no money", "no time"


class Listing(NamedTuple):
    """A list that is asked for, and by what its items are told apart."""

    request: Any
    id_field: str


async def pages(rig: Rig, listing: Listing) -> list[tuple[list[str], int]]:
    """Return the ids on each page of a list, and how many bytes the answer has."""
    asked = type(listing.request)()
    asked.CopyFrom(listing.request)
    asked.page_size = 1000
    found = []
    while True:
        answer = await send(rig, asked)
        items = getattr(answer, answer.DESCRIPTOR.fields_by_number[1].name)
        found.append(([getattr(one, listing.id_field) for one in items], answer.ByteSize()))
        if not answer.next_page_token:
            return found
        asked.page_token = answer.next_page_token


async def three_of_each(rig: Rig) -> dict[str, Listing]:
    """Make at least three items of each list, and return the lists by the names of their RPCs."""
    call = rig.client
    await rig.start("anew", ONE)
    for n in THREE:
        await in_doubt(rig, f"doubted-{n}", task=f"t{n}")
        await call.restart("anew")
        await call.pause(task_name=f"nobody-{n}")
        await call.register_task(f"registered-{n}", specs(ONE))
        await call.create_breaker(task_name=f"nobody-{n}", failure_threshold=1, window=60)
        await call.set_retention(f"registered-{n}", None)
        await rig.start(f"died-{n}", ONE, task="mortal")
        for leased in await rig.lease(task="mortal"):
            await rig.fail(leased, message=DEATHS[n])
    batch_ids = []
    for prefix, count in (("more", 3), ("one", 1), ("another", 1)):
        ids = [f"{prefix}-{n}" for n in range(count)]
        for id_ in ids:
            await rig.start(id_, ONE, task="batched")
        for leased in await rig.lease(task="batched"):
            await rig.fail(leased)
        created = await call.create_batch(zart.RetryStep(), execution_ids=ids)
        await until_batch(call, created.batch_id, "COMPLETED")
        batch_ids.append(created.batch_id)
    pauses = audit.ListOperationsRequest(kinds=[audit.OPERATION_KIND_PAUSE])
    return {
        "ListRuns": Listing(admin.ListRunsRequest(execution_id="anew"), "run_id"),
        "ListInDoubt": Listing(admin.ListInDoubtRequest(), "execution_id"),
        "ListPauseRules": Listing(admin.ListPauseRulesRequest(), "rule_id"),
        "ListOperations": Listing(pauses, "operation_id"),
        "ListBatches": Listing(batches.ListBatchesRequest(), "batch_id"),
        "ListBatchItems": Listing(
            batches.ListBatchItemsRequest(batch_id=batch_ids[0]), "execution_id"
        ),
        "ListBreakers": Listing(breakers.ListBreakersRequest(), "breaker_id"),
        "ListExecutions": Listing(execution.ListExecutionsRequest(), "execution_id"),
        "ListErrorGroups": Listing(execution.ListErrorGroupsRequest(), "error_group_id"),
        "ListTaskDefinitions": Listing(execution.ListTaskDefinitionsRequest(), "task_name"),
        "ListRetention": Listing(retention.ListRetentionRequest(), "task_name"),
    }


async def test_each_list_ends_a_page_early_and_goes_on_where_it_ended(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    lists = await three_of_each(rig)
    paged = {
        rpc.name
        for service in all_services()
        for rpc in service.methods
        if "next_page_token" in rpc.output_type.fields_by_name
    }
    assert lists.keys() == paged - {"PurgeExecutions"}  # which counts
    whole = {name: await pages(rig, listing) for name, listing in lists.items()}

    monkeypatch.setattr("zart_server.api.pages.PAGE_BYTES", 1)
    for name, listing in lists.items():
        [(ids, _)] = whole[name]
        assert len(ids) >= len(THREE), name
        found = [on_page for on_page, _ in await pages(rig, listing)]
        assert found == [[id_] for id_ in ids], name


class Heavy(NamedTuple):
    """What is inserted, what lists it, and how the store is asked for it."""

    inserts: str
    listing: Listing
    how_many: int
    read: Callable[[Connection], Awaitable[Any]]


_RERUN = """
    INSERT INTO zart.operations (kind, triggered_by, reason, request_id, made)
    SELECT 'rerun', '', '', '', (
        SELECT json_build_object('effective_rerun', json_agg(rpad('s' || i, 255, 'n')))
        FROM generate_series(1, 10000) i)
    FROM generate_series(1, 4);
"""
_REFUSED = """
    INSERT INTO zart.operation_attempts (status, kind, triggered_by, principal, reason, request_id)
    VALUES ('refused', 'rerun', '', '', '', '');
"""
HEAVY = {
    "restarts with a payload of 1 MB": Heavy(
        """
        INSERT INTO zart.batches (batch_id, status, operation, selection, as_of, created_by,
            principal, reason, incident, completed_at)
        SELECT 'bt-' || n, 'completed', json_build_object('kind', 'restart',
                'payload_json', to_json(repeat('y', 1000000))::text),
            '{"execution_ids": [], "filter": null}', now(), '', '', '', '', now()
        FROM generate_series(1, 20) n
        """,
        Listing(batches.ListBatchesRequest(), "batch_id"),
        20,
        lambda connection: list_batches(connection, (), None, 1000),
    ),
    "reruns of 10,000 steps": Heavy(
        _RERUN + _REFUSED + _RERUN,
        Listing(
            audit.ListOperationsRequest(
                kinds=[audit.OPERATION_KIND_RERUN],
                statuses=[audit.OPERATION_STATUS_DONE, audit.OPERATION_STATUS_REFUSED],
            ),
            "operation_id",
        ),
        9,
        lambda connection: list_operations(
            connection, ListOperations(kinds=(OperationKind.RERUN,)), None, 1000
        ),
    ),
    "late results of 64 KB": Heavy(
        """
        INSERT INTO zart.in_doubt (run_key, step_no, attempt, execution_id, task_name, run_number,
            step_name, ended_as, swept, dispatcher_id, principal, lease_token, started_at,
            late_status, late_result, late_received_at)
        SELECT n, 0, 1, 'x-' || n, 't', 0, 'a', 'lost', true, 'd', '', n, now(),
            'completed', to_json(repeat('y', 64000)), now()
        FROM generate_series(1, 300) n
        """,
        Listing(admin.ListInDoubtRequest(), "execution_id"),
        300,
        lambda connection: list_in_doubt(connection, ExecutionFilter(), None, 1000),
    ),
}


@pytest.mark.parametrize("heavy", HEAVY.values(), ids=HEAVY)
async def test_heavy_items_are_read_a_page_at_a_time(
    rig: Rig, zart_server: ServerUnderTest, heavy: Heavy
) -> None:
    await rig.db.execute(heavy.inserts)
    found = await pages(rig, heavy.listing)

    ids = [id_ for on_page, _ in found for id_ in on_page]
    assert len(ids) == len(set(ids)) == heavy.how_many
    assert _keys(ids) == sorted(_keys(ids), reverse=True)  # newest first
    *others, last = [size for _, size in found]
    assert all(5 * MIB < size <= 8 * MIB + TOKEN for size in others)
    assert last <= 8 * MIB
    assert len(others) >= 2
    # The server has read one more of them than the first page has, not all there are.
    db = await Database.open(zart_server.database_url, pool_size=1)
    try:
        async with db.autocommit() as connection:
            read = await heavy.read(connection)
    finally:
        await db.close()
    assert 0 <= len(read.items) - len(found[0][0]) <= 2
    assert read.next_cursor == read.cursors[-1]


def _keys(ids: list[str]) -> list[int]:
    return [int(id_.rpartition("-")[2]) for id_ in ids]


async def test_many_items_that_are_no_more_than_long_are_read_too(rig: Rig) -> None:
    await rig.db.execute(
        """
        INSERT INTO zart.breakers (breaker_id, task_name, failure_threshold, counted_within,
            min_failure_ratio, probe_steps, token_from, last_error, reason, created_by, principal,
            incident)
        SELECT 'br-' || n, 'nobody', 1, interval '1 minute', 0, 1, 0,
            json_build_object('type', 'Broken', 'message', repeat('y', 16000), 'details', ''),
            repeat('r', 1000), '', '', ''
        FROM generate_series(1, 1000) n
        """
    )
    found = await pages(rig, Listing(breakers.ListBreakersRequest(), "breaker_id"))

    assert [id_ for on_page, _ in found for id_ in on_page] == [
        f"br-{n}" for n in range(1000, 0, -1)
    ]
    assert len(found) == 3
    assert max(size for _, size in found) <= 8 * MIB + TOKEN
