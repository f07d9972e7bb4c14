"""Tokens by which a purge goes on where the call before it ended, if it is to remove the same."""

from __future__ import annotations

from datetime import timedelta

from zart.v1 import retention_service_pb2 as pb
from zart_server.api.encode import duration
from zart_server.api.page_tokens import decode_positions, encode_cursor, not_made_here
from zart_server.domain.ended_cursor import FROM_THE_OLDEST, EndedCursor
from zart_server.domain.errors import InvalidField
from zart_server.domain.retention import Purged


def token_after(done: Purged) -> str:
    """Return the token of the call that goes on after one; empty where nothing is left."""
    if done.cursor is None:
        return ""
    command = done.command
    bound = pb.PurgeExecutionsRequest(
        older_than=duration(command.older_than), task_name=command.task_name
    )
    return encode_cursor(bound, done.cursor.to_positions())


def purge_cursor(request: pb.PurgeExecutionsRequest, older_than: timedelta) -> EndedCursor:
    """Return where a purge of what is ``older_than`` that, as the request says, begins.

    Raises InvalidField for a token of another purge, or in a plan.
    """
    if not request.page_token:
        return FROM_THE_OLDEST
    if request.validate_only:
        raise InvalidField("page_token", "is not for a plan, which counts from the oldest on")
    # The token was made of what the command has, which is no finer than a microsecond.
    bound = pb.PurgeExecutionsRequest(older_than=duration(older_than))
    if request.HasField("task_name"):
        bound.task_name = request.task_name
    try:
        cursor = EndedCursor.of_positions(decode_positions(bound, request.page_token))
    except ValueError:
        raise not_made_here() from None
    if request.HasField("task_name") and cursor.task_name != request.task_name:
        raise not_made_here()
    return cursor
