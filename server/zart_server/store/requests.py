"""Request ids: a request and its response, stored in the operation's own transaction.

They are scoped to the caller's principal; callers who are not authenticated share one scope.
"""

from __future__ import annotations

from dataclasses import dataclass

from zart_server.store.db import Tx


@dataclass(frozen=True, slots=True)
class StoredRequest:
    """A request that was answered before."""

    fingerprint: bytes
    response: bytes | None
    is_complete: bool


async def insert_request(
    tx: Tx, caller: str, rpc: str, request_id: str, fingerprint: bytes
) -> bool:
    """Insert a request; False where it is there, having waited for whoever was inserting it."""
    inserted = await tx.execute(
        "INSERT INTO zart.requests (caller, rpc, request_id, fingerprint) VALUES ($1, $2, $3, $4)"
        " ON CONFLICT DO NOTHING",
        caller,
        rpc,
        request_id,
        fingerprint,
    )
    return inserted == 1


async def find_request(tx: Tx, caller: str, rpc: str, request_id: str) -> StoredRequest | None:
    """Give a request that was answered before."""
    row = await tx.fetchrow(
        "SELECT fingerprint, response, is_complete FROM zart.requests"
        " WHERE caller = $1 AND rpc = $2 AND request_id = $3",
        caller,
        rpc,
        request_id,
    )
    return None if row is None else StoredRequest(*row)


async def update_response(
    tx: Tx, caller: str, rpc: str, request_id: str, response: bytes, *, is_complete: bool
) -> None:
    """Store the response with its request."""
    await tx.execute(
        "UPDATE zart.requests SET response = $4, is_complete = $5"
        " WHERE caller = $1 AND rpc = $2 AND request_id = $3",
        caller,
        rpc,
        request_id,
        response,
        is_complete,
    )


async def purge_requests(tx: Tx, limit: int) -> int:
    """Delete up to ``limit`` requests older than 7 days; give how many."""
    return await tx.execute(
        "DELETE FROM zart.requests WHERE ctid = ANY(ARRAY(SELECT ctid FROM zart.requests"
        " WHERE created_at < statement_timestamp() - interval '7 days'"
        " LIMIT $1 FOR UPDATE SKIP LOCKED))",
        limit,
    )
