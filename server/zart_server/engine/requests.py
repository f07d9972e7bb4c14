"""Makes repeats safe: looks request ids up before anything else, and stores the responses."""

from __future__ import annotations

from typing import NamedTuple

from zart_server.domain.errors import RequestIdReused, StoreConflict
from zart_server.store.db import Tx
from zart_server.store.requests import (
    RequestKey,
    delete_requests,
    find_requests,
    insert_requests,
    update_responses,
)

__all__ = ["RequestKey", "StoredResponse", "begin_requests", "forget_requests", "store_responses"]


class StoredResponse(NamedTuple):
    """The response of an earlier call; ``is_complete`` False: its counts are to be made again."""

    response: bytes
    is_complete: bool


async def begin_requests(
    tx: Tx, requests: dict[RequestKey, bytes]
) -> dict[RequestKey, StoredResponse | RequestIdReused]:
    """Claim request ids for this transaction; give the responses of those answered before.

    A concurrent call with the same id waits here until the first has committed or rolled back.
    RequestIdReused where an id was used for a request with another fingerprint.
    """
    inserted = await insert_requests(tx, requests) if requests else set()
    if len(inserted) == len(requests):
        return {}
    known = [key for key in requests if key not in inserted]
    stored = await find_requests(tx, known)
    found: dict[RequestKey, StoredResponse | RequestIdReused] = {}
    for key in known:
        if key not in stored:  # purged between the two statements
            raise StoreConflict
        fingerprint, response, is_complete = stored[key]
        if fingerprint == requests[key]:
            found[key] = StoredResponse(response or b"", is_complete)
        else:
            found[key] = RequestIdReused(key.request_id)
    return found


async def store_responses(
    tx: Tx, responses: dict[RequestKey, bytes], *, is_complete: bool = True
) -> None:
    """Store responses with their requests, in the operations' own transaction."""
    if responses:
        await update_responses(tx, responses, is_complete=is_complete)


async def forget_requests(tx: Tx, keys: list[RequestKey]) -> None:
    """Forget requests of this transaction that were refused: a repeat is looked at anew."""
    if keys:
        await delete_requests(tx, keys)
