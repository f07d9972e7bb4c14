"""Request ids: a request and its response, stored in the operation's own transaction.

They are scoped to the caller's principal; callers who are not authenticated share one scope.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from zart_server.store.db import Tx


class RequestKey(NamedTuple):
    """Names a request: whose it is, of which RPC, by which id."""

    caller: str
    rpc: str
    request_id: str


class StoredRequest(NamedTuple):
    """A request that was answered before."""

    fingerprint: bytes
    response: bytes | None
    is_complete: bool


async def insert_requests(tx: Tx, requests: dict[RequestKey, bytes]) -> set[RequestKey]:
    """Insert requests with their fingerprints; give those that were not there.

    In key order, and waiting for whoever is inserting one of them.
    """
    keys = sorted(requests)
    rows = await tx.fetch(
        "INSERT INTO zart.requests (caller, rpc, request_id, fingerprint)"
        " SELECT u.* FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[]) u"
        " ON CONFLICT DO NOTHING RETURNING caller, rpc, request_id",
        *_columns(keys),
        [requests[key] for key in keys],
    )
    return {RequestKey(*row) for row in rows}


async def find_requests(tx: Tx, keys: Sequence[RequestKey]) -> dict[RequestKey, StoredRequest]:
    """Give requests that were answered before."""
    rows = await tx.fetch(
        "SELECT caller, rpc, request_id, fingerprint, response, is_complete FROM zart.requests"
        " JOIN unnest($1::text[], $2::text[], $3::text[]) u(caller, rpc, request_id)"
        " USING (caller, rpc, request_id)",
        *_columns(keys),
    )
    return {RequestKey(*row[:3]): StoredRequest(*row[3:]) for row in rows}


async def update_responses(
    tx: Tx, responses: dict[RequestKey, bytes], *, is_complete: bool
) -> None:
    """Store responses with their requests."""
    await tx.execute(
        "UPDATE zart.requests r SET response = u.response, is_complete = $5"
        " FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[])"
        " u(caller, rpc, request_id, response)"
        " WHERE r.caller = u.caller AND r.rpc = u.rpc AND r.request_id = u.request_id",
        *_columns(list(responses)),
        list(responses.values()),
        is_complete,
    )


async def delete_requests(tx: Tx, keys: Sequence[RequestKey]) -> None:
    """Forget requests that this transaction inserted: what they asked for was refused."""
    await tx.execute(
        "DELETE FROM zart.requests r"
        " USING unnest($1::text[], $2::text[], $3::text[]) u(caller, rpc, request_id)"
        " WHERE r.caller = u.caller AND r.rpc = u.rpc AND r.request_id = u.request_id",
        *_columns(keys),
    )


async def purge_requests(tx: Tx, limit: int) -> int:
    """Delete up to ``limit`` requests older than 7 days; give how many."""
    return await tx.execute(
        "DELETE FROM zart.requests WHERE ctid = ANY(ARRAY(SELECT ctid FROM zart.requests"
        " WHERE created_at < statement_timestamp() - interval '7 days'"
        " LIMIT $1 FOR UPDATE SKIP LOCKED))",
        limit,
    )


def _columns(keys: Sequence[RequestKey]) -> tuple[list[str], list[str], list[str]]:
    return [k.caller for k in keys], [k.rpc for k in keys], [k.request_id for k in keys]
