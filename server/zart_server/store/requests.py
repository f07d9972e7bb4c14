"""Request ids: a request and its response, stored in the operation's own transaction.

They are scoped to the caller's principal; callers who are not authenticated share one scope.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from zart_server.store.connection import Connection, Tx
from zart_server.store.statement import Statement


class RequestKey(NamedTuple):
    """Names a request: whose it is, of which RPC, by which id."""

    caller: str
    rpc: str
    request_id: str


class Answered(NamedTuple):
    """A request and its response. ``fingerprint`` tells whether a repeat asks for the same.

    ``is_complete`` False: something is still to be filled in. ``at``: when it was stored, None: it
    is not yet.
    """

    key: RequestKey
    fingerprint: bytes
    response: bytes
    is_complete: bool = True
    at: datetime | None = None


async def find_requests(
    connection: Connection, keys: Sequence[RequestKey]
) -> dict[RequestKey, Answered]:
    """Return those of the requests that were answered before."""
    rows = await connection.fetch(
        "SELECT r.* FROM unnest($1::text[], $2::text[], $3::text[]) u(caller, rpc, request_id)"
        " CROSS JOIN LATERAL (SELECT caller, rpc, request_id, fingerprint, response, is_complete,"
        " created_at FROM zart.requests WHERE caller = u.caller AND rpc = u.rpc"
        " AND request_id = u.request_id OFFSET 0) r",
        *_columns(keys),
    )
    found = [Answered(RequestKey(*row[:3]), row[3], row[4] or b"", *row[5:]) for row in rows]
    return {answered.key: answered for answered in found}


_INSERT = Statement(
    """
    INSERT INTO zart.requests (caller, rpc, request_id, fingerprint, response, is_complete)
    SELECT u.* FROM unnest(:callers::text[], :rpcs::text[], :request_ids::text[],
        :fingerprints::bytea[], :responses::bytea[], :are_complete::boolean[]) u
    ON CONFLICT DO NOTHING
    """,
    locks=("keys of requests, waiting",),
)


async def insert_requests(tx: Tx, answered: Sequence[Answered]) -> bool:
    """Insert requests with their responses; False where one of them is there already.

    In key order, and waiting for whoever is inserting one of them.
    """
    rows = sorted(answered)
    callers, rpcs, request_ids = _columns([row.key for row in rows])
    inserted = await tx.execute(
        _INSERT.text,
        *_INSERT.arguments(
            callers=callers,
            rpcs=rpcs,
            request_ids=request_ids,
            fingerprints=[row.fingerprint for row in rows],
            responses=[row.response for row in rows],
            are_complete=[row.is_complete for row in rows],
        ),
    )
    return inserted == len(rows)


async def complete_response(connection: Connection, key: RequestKey, response: bytes) -> None:
    """Store the whole response of a request whose response was incomplete."""
    await connection.execute(
        "UPDATE zart.requests SET response = $4, is_complete = true"
        " WHERE caller = $1 AND rpc = $2 AND request_id = $3",
        *key,
        response,
    )


async def purge_requests(
    connection: Connection, own_time: datetime, first: int, count: int
) -> bool:
    """Delete the requests older than 7 days in so many blocks of the table from the ``first`` on.

    They are so by ``own_time``, too: a replica that is promoted may have a clock that is ahead.
    Return whether there are blocks after them. Old ones are among those that came later into the
    room of what was removed: no index by time is as small as a look at all blocks now and then.
    """
    is_more: bool = await connection.fetchval(
        "WITH gone AS (DELETE FROM zart.requests WHERE ctid = ANY(ARRAY(SELECT ctid"
        " FROM zart.requests WHERE ctid >= $1::tid AND ctid < $2::tid"
        " AND created_at < LEAST(statement_timestamp(), $4::timestamptz) - interval '7 days'"
        " FOR UPDATE SKIP LOCKED)))"
        " SELECT pg_relation_size('zart.requests') > current_setting('block_size')::bigint"
        " * $3::bigint",
        (first, 0),
        (first + count, 0),
        first + count,
        own_time,
    )
    return is_more


def _columns(keys: Sequence[RequestKey]) -> tuple[list[str], list[str], list[str]]:
    return [k.caller for k in keys], [k.rpc for k in keys], [k.request_id for k in keys]
