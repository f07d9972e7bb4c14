"""Makes repeats safe: a request id is stored with its response, and only once.

Most calls are no repeats. So the id is not looked up first: what a repeat does is rolled back when
its id cannot be stored, and it is answered like the call before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from zart_server.domain.errors import RequestIdReused, StoreConflict
from zart_server.store.connection import Connection, Tx
from zart_server.store.requests import (
    Answered,
    RequestKey,
    complete_response,
    find_requests,
    insert_requests,
)

__all__ = ["Answered", "RequestKey", "complete_response", "find_answers", "store_answers"]


async def find_answers(
    connection: Connection, requests: Mapping[RequestKey, bytes]
) -> dict[RequestKey, Answered | RequestIdReused]:
    """Return the answers of those of the requests, by key with fingerprint, that have one.

    RequestIdReused where an id was used for a request with another fingerprint. Asked before an
    error is told, which may be due to what a call with the same id has done, and before anything
    else where an attempt has found in the end that there was one: what it did was rolled back.
    """
    known = await find_requests(connection, list(requests)) if requests else {}
    return {
        key: answered if answered.fingerprint == requests[key] else RequestIdReused(key.request_id)
        for key, answered in known.items()
    }


async def store_answers(tx: Tx, answered: Sequence[Answered]) -> None:
    """Store responses with their requests, in the operations' own transaction.

    Raises StoreConflict where another call had one of the ids, having waited for its end: all is
    rolled back, and its answer is found when this is tried again.
    """
    if answered and not await insert_requests(tx, answered):
        raise StoreConflict
