"""Runs mutations so that each happens once or not at all, whatever its caller does."""

from __future__ import annotations

import asyncio
from typing import Any

from zart_server.api.mutations.batched import Batched
from zart_server.api.mutations.linked import link_to_execution
from zart_server.api.mutations.mutation import Asked, Call, Grouping, Mutation, Response
from zart_server.api.mutations.replay import request_of
from zart_server.api.mutations.runner import MutationRunner
from zart_server.api.outliving import Outliving, outcome_of
from zart_server.api.plans import is_plan
from zart_server.aside import REQUEST_BYTES, decoded
from zart_server.engine.dispatch.waiting_room import WaitingRoom
from zart_server.store.db import Database


class Mutations:
    """The mutations of one server. ``timeout`` in seconds, for each."""

    def __init__(self, db: Database, timeout: float, room: WaitingRoom) -> None:
        self.room = room
        self.db = db
        self.patience = timeout / 2  # with what somebody holds: who it is can be told in time
        self._outliving = Outliving()
        self._runner = MutationRunner(db, timeout, room, self._outliving)
        self._batched: dict[Mutation[Any, Any, Any, Any], Batched] = {}

    async def run(self, mutation: Mutation[Asked, Any, Any, Response], request: Asked) -> Response:
        """Do what a request asks for, or answer what it was answered with before, or plan it.

        Raises what the mutation's decoder and the engine's operation do, OperationTimeout,
        RequestIdReused, StoreConflict and StoreUnavailable. Neither the caller's deadline nor its
        disconnection stops what has begun.
        """
        command, caller = await decoded(mutation.decode, request)
        target = mutation.target(command)
        planned = is_plan(request)
        named = None if planned else await request_of(request, caller)
        if planned and mutation.grouping is Grouping.IN_LINE:
            target = None  # its plan takes no lock
        call = Call(mutation, command, caller, target, named, planned, REQUEST_BYTES.get())
        if planned or mutation.grouping is not Grouping.TOGETHER:
            self._begin(call, is_first=True)
        elif target is not None and self.room.is_waited_for(target):
            self._begin(call, is_first=False)
        else:
            self._batches_of(mutation).add(call)
        answer = await outcome_of(call.done)
        await link_to_execution(self.db, request)
        return answer

    async def drain(self) -> None:
        """Wait until every mutation that has begun is done."""
        await self._outliving.drain()

    def _begin(self, call: Call[Any], *, is_first: bool) -> None:
        self._outliving.keep(asyncio.create_task(self._runner.alone(call, is_first=is_first)))

    def _batches_of(self, mutation: Mutation[Any, Any, Any, Any]) -> Batched:
        batched = self._batched.get(mutation)
        if batched is None:
            batched = self._batched[mutation] = Batched(self._runner, self._outliving)
        return batched
