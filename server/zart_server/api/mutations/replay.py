"""Answers calls in their transaction; a repeat of a request is answered as it was before."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Generic, NamedTuple

from google.protobuf.message import Message

from zart_server.api.mutations.mutation import Call, Grouping, InLine, Request, Response
from zart_server.aside import decoded
from zart_server.domain.commands import Caller
from zart_server.domain.errors import RequestIdReused, StoreConflict, ZartError
from zart_server.engine.operations.requests import (
    Answered,
    RequestKey,
    find_answers,
    store_answers,
)
from zart_server.store.connection import Autocommit, Connection, Tx
from zart_server.store.standby import reach_standby


class Answer(NamedTuple, Generic[Response]):
    """A response. Not ``is_complete``: the mutation's ``complete`` has to fill it in."""

    response: Response
    is_complete: bool = True


async def request_of(message: Message, caller: Caller) -> Request | None:
    """Name a request of a caller; None if it has no request_id, or its kind needs none."""
    request_id: str = getattr(message, "request_id", "")
    if not request_id:
        return None
    rpc = message.DESCRIPTOR.name.removesuffix("Request")
    key = RequestKey(caller.principal, rpc, request_id)
    return Request(key, await decoded(_fingerprint, message))


def _fingerprint(message: Message) -> bytes:
    """Return what tells whether a repeat asks for the same.

    A plan's token is no part of that: it guards the first call, and a repeat has one of its own.
    """
    if getattr(message, "plan_token", ""):
        bare = type(message)()
        bare.CopyFrom(message)
        bare.ClearField("plan_token")
        message = bare
    return hashlib.sha256(message.SerializeToString(deterministic=True)).digest()


async def answer_calls(
    tx: Tx, calls: Sequence[Call[Any]], *, wait: bool, is_repeat: bool
) -> list[Answer[Any] | ZartError | None]:
    """Do what calls of one mutation ask for, and store their responses with their requests.

    With ``is_repeat`` what was answered before is found first; else only if a call is refused, or
    its request cannot be stored: most calls are no repeats. None, only without ``wait``: another
    transaction has locked the execution. Raises StoreConflict if a request was answered meanwhile,
    or a repeat was refused that comes alone: what it did before that is to be rolled back.
    """
    known = await _known(tx, calls) if is_repeat else {}
    new = [call for call in calls if call not in known]
    mutation = calls[0].mutation
    if isinstance(mutation.operate, InLine):
        raise TypeError("its calls come one at a time")
    results = (
        await mutation.operate(tx, [(call.command, call.caller) for call in new], wait=wait)
        if new
        else ()
    )
    done: dict[Call[Any], Answer[Any] | ZartError | None] = {
        call: result
        if result is None or isinstance(result, ZartError)
        else Answer(mutation.encode(result), mutation.is_whole)
        for call, result in zip(new, results, strict=True)
    }
    refused = [call for call, answer in done.items() if isinstance(answer, ZartError)]
    before = await _known(tx, refused)
    # Of those that may share a transaction none writes before it is refused.
    if before and mutation.grouping is not Grouping.TOGETHER:
        raise StoreConflict
    answers = known | done | before
    await _store(tx, done)
    return [answers[call] for call in calls]


async def answer_in_line(
    connection: Autocommit, call: Call[Response], in_line: InLine[Any, Any], *, is_repeat: bool
) -> Answer[Response] | ZartError | None:
    """Do as ``answer_calls`` does for one call, whose operation begins the transaction itself."""
    known = await _known(connection, [call]) if is_repeat else {}
    if call in known:
        return known[call]
    try:
        tx, done = await in_line.operate(connection, call.command, call.caller)
    except ZartError as error:
        if await _known(connection, [call]):
            raise StoreConflict from None  # as above
        return error
    answer = Answer(call.mutation.encode(done), call.mutation.is_whole)
    await _store(tx, {call: answer})
    return answer


async def _store(tx: Tx, answers: Mapping[Call[Any], Answer[Any] | ZartError | None]) -> None:
    """Store the responses of those calls that were answered, with their requests."""
    await store_answers(
        tx,
        [
            Answered(*call.request, answer.response.SerializeToString(), answer.is_complete)
            for call, answer in answers.items()
            if call.request is not None and isinstance(answer, Answer)
        ],
    )


async def _known(
    connection: Connection, calls: Sequence[Call[Any]]
) -> dict[Call[Any], Answer[Any] | ZartError | None]:
    """Return the answers of those calls that were answered before, as safe as they were then."""
    asked = {call.request.key: call for call in calls if call.request is not None}
    found = await find_answers(connection, dict(c.request for c in asked.values() if c.request))
    if found:
        await reach_standby(connection)
    return {asked[key]: _replayed(asked[key], stored) for key, stored in found.items()}


def _replayed(call: Call[Any], stored: Answered | RequestIdReused) -> Answer[Any] | ZartError:
    """Return a stored response, marked as replayed."""
    if isinstance(stored, RequestIdReused):
        return stored
    response = call.mutation.response_type.FromString(stored.response)
    response.replayed = True
    if call.mutation.replay is not None and stored.at is not None and not stored.is_complete:
        call.mutation.replay(response, stored.at)
    return Answer(response, stored.is_complete or call.mutation.complete is None)
