"""Makes repeats safe: looks a request_id up before anything else, and stores the response."""

from __future__ import annotations

from dataclasses import dataclass

from zart_server.domain.errors import RequestIdReused, StoreConflict
from zart_server.store.db import Tx
from zart_server.store.requests import find_request, insert_request, update_response


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """The response of an earlier call; ``is_complete`` False: its counts are to be made again."""

    response: bytes
    is_complete: bool


async def begin_request(
    tx: Tx, caller: str, rpc: str, request_id: str, fingerprint: bytes
) -> StoredResponse | None:
    """Claim a caller's request_id for this transaction, or give the response it was answered with.

    A concurrent call with the same id waits here until the first has committed or rolled back.
    Raises RequestIdReused where the id was used for a different request.
    """
    if await insert_request(tx, caller, rpc, request_id, fingerprint):
        return None
    stored = await find_request(tx, caller, rpc, request_id)
    if stored is None:  # purged between the two statements
        raise StoreConflict
    if stored.fingerprint != fingerprint:
        raise RequestIdReused(request_id)
    return StoredResponse(stored.response or b"", stored.is_complete)


async def store_response(
    tx: Tx,
    caller: str,
    rpc: str,
    request_id: str,
    response: bytes,
    *,
    is_complete: bool = True,
) -> None:
    """Store the response with the request, in the operation's own transaction."""
    await update_response(tx, caller, rpc, request_id, response, is_complete=is_complete)
