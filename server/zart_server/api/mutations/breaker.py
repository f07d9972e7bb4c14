"""The mutations of BreakerService, each with what the engine does for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from zart.v1 import breaker_service_pb2 as pb
from zart_server.api import decode_breaker as decode
from zart_server.api.checks import with_caller
from zart_server.api.encode_breaker import breaker
from zart_server.api.mutations.admin import PAUSE_LOCK
from zart_server.api.mutations.mutation import Done, Grouping, InLine, Mutation, for_one
from zart_server.domain.breakers import (
    Breaker,
    CreateBreaker,
    DeletedBreaker,
    OneBreaker,
    UpdateBreaker,
)
from zart_server.domain.commands import Caller
from zart_server.engine.operations.create_breaker import create_breaker
from zart_server.engine.operations.delete_breaker import delete_breaker
from zart_server.engine.operations.reset_breaker import reset_breaker
from zart_server.engine.operations.trip_breaker import trip_breaker
from zart_server.engine.operations.update_breaker import update_breaker
from zart_server.store.connection import Autocommit, Tx

_Operate: TypeAlias = Callable[[Autocommit, OneBreaker, Caller, float], Awaitable[tuple[Tx, Done]]]


def _nothing(_command: CreateBreaker) -> None:
    return None


def _breaker_id(command: UpdateBreaker) -> str:
    return f"\0breaker {command.breaker_id}"  # no execution is called so


def _pause_lock(_command: OneBreaker) -> str:
    return PAUSE_LOCK


def _created(made: Breaker) -> pb.CreateBreakerResponse:
    return pb.CreateBreakerResponse(breaker=breaker(made))


def _updated(changed: Breaker) -> pb.UpdateBreakerResponse:
    return pb.UpdateBreakerResponse(breaker=breaker(changed))


CREATE_BREAKER = Mutation(
    response_type=pb.CreateBreakerResponse,
    decode=with_caller(decode.create_breaker),
    operate=for_one(create_breaker),
    encode=_created,
    target=_nothing,
    grouping=Grouping.ALONE,
)
UPDATE_BREAKER = Mutation(
    response_type=pb.UpdateBreakerResponse,
    decode=with_caller(decode.update_breaker),
    operate=for_one(update_breaker),
    encode=_updated,
    target=_breaker_id,
    grouping=Grouping.ALONE,
)


def _within(operate: _Operate[Done], within: float) -> InLine[OneBreaker, Done]:
    async def in_line(
        connection: Autocommit, command: OneBreaker, caller: Caller
    ) -> tuple[Tx, Done]:
        return await operate(connection, command, caller, within)

    return InLine(in_line)


def delete_mutation(
    within: float,
) -> Mutation[pb.DeleteBreakerRequest, OneBreaker, DeletedBreaker, pb.DeleteBreakerResponse]:
    """Return DeleteBreaker; the pause lock has to be had ``within`` these seconds."""
    return Mutation(
        response_type=pb.DeleteBreakerResponse,
        decode=with_caller(decode.one_breaker),
        operate=_within(delete_breaker, within),
        encode=_deleted,
        target=_pause_lock,
        grouping=Grouping.IN_LINE,
    )


def _deleted(done: DeletedBreaker) -> pb.DeleteBreakerResponse:
    return pb.DeleteBreakerResponse(breaker=breaker(done.breaker), left_rule_id=done.left_rule_id)


def trip_mutation(
    within: float,
) -> Mutation[pb.TripBreakerRequest, OneBreaker, Breaker, pb.TripBreakerResponse]:
    """Return TripBreaker; the pause lock has to be had ``within`` these seconds."""
    return Mutation(
        response_type=pb.TripBreakerResponse,
        decode=with_caller(decode.one_breaker),
        operate=_within(trip_breaker, within),
        encode=_tripped,
        target=_pause_lock,
        grouping=Grouping.IN_LINE,
    )


def _tripped(opened: Breaker) -> pb.TripBreakerResponse:
    return pb.TripBreakerResponse(breaker=breaker(opened))


def reset_mutation(
    within: float,
) -> Mutation[pb.ResetBreakerRequest, OneBreaker, Breaker, pb.ResetBreakerResponse]:
    """Return ResetBreaker; the pause lock has to be had ``within`` these seconds."""
    return Mutation(
        response_type=pb.ResetBreakerResponse,
        decode=with_caller(decode.one_breaker),
        operate=_within(reset_breaker, within),
        encode=_reset,
        target=_pause_lock,
        grouping=Grouping.IN_LINE,
    )


def _reset(closed: Breaker) -> pb.ResetBreakerResponse:
    return pb.ResetBreakerResponse(breaker=breaker(closed))
