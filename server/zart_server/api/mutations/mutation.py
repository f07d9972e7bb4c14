"""What one mutating RPC is: how it is decoded, what the engine does, how that is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from google.protobuf.message import Message

from zart_server.domain.commands import Caller
from zart_server.domain.errors import ZartError
from zart_server.engine.operations.requests import RequestKey
from zart_server.store.connection import Autocommit, Tx

Asked_contra = TypeVar("Asked_contra", contravariant=True)
Given_co = TypeVar("Given_co", covariant=True)
Asked = TypeVar("Asked", bound=Message)
Command = TypeVar("Command")
Done = TypeVar("Done")
Response = TypeVar("Response", bound=Message)


class Operate(Protocol[Asked_contra, Given_co]):
    """Does the operation for several callers: a result or an error each.

    None, only without ``wait``: another transaction has locked the execution.
    """

    def __call__(
        self, tx: Tx, wanted: Sequence[tuple[Asked_contra, Caller]], *, wait: bool
    ) -> Awaitable[Sequence[Given_co | ZartError | None]]:
        """Do it."""


class Request(NamedTuple):
    """Names a request with a request_id, and tells whether a repeat asks for the same."""

    key: RequestKey
    fingerprint: bytes


class OperateFast(Protocol[Asked_contra, Given_co]):
    """Does what callers ask for and stores their incomplete answers, by one statement.

    None in place of a result: nothing was done for that caller, who needs a transaction; or None
    altogether: for nobody. Raises StoreConflict, too, having done nothing for anybody.
    """

    def __call__(
        self,
        connection: Autocommit,
        wanted: Sequence[Asked_contra],
        requests: Sequence[Request | None],
    ) -> Awaitable[Sequence[Given_co | None] | None]:
        """Do it."""


@dataclass(frozen=True, slots=True)
class InLine(Generic[Command, Done]):
    """An operation for one caller that begins the transaction itself, and returns it.

    ``plan`` returns what it would do: not by doing it, for it begins with the pause lock.
    """

    operate: Callable[[Autocommit, Command, Caller], Awaitable[tuple[Tx, Done]]]
    plan: Callable[[Autocommit, Command, Caller], Awaitable[Done]] | None = None


class Grouping(Enum):
    """How the calls of a mutation are brought together, and how each meets a lock."""

    TOGETHER = auto()
    """Calls that come at once share a transaction; whose execution is locked goes on alone."""
    ALONE = auto()
    """Each call has a transaction, tried for a moment before it stands in line for the lock."""
    IN_LINE = auto()
    """As ALONE, but one call at a time; the operation is an ``InLine``."""


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Mutation(Generic[Asked, Command, Done, Response]):
    """One mutating RPC.

    ``target`` names what a call has to lock, if that is one thing: of a batch only one call may be
    about it, and the calls that wait for it stand in one line. ``fast`` is tried first for calls
    that do not wait. ``complete`` fills in, after the commit, what a stored response lacks: each
    statement stands for itself unless it begins a transaction. ``steps`` tells how many a command
    brings with it, all of which are written. Without ``is_whole`` the response of
    ``encode`` lacks that too; else only one that ``fast`` has stored. What that one lacks besides,
    as only the statement knew it, ``replay`` fills in by the time at which it was stored.
    """

    response_type: type[Response]
    decode: Callable[[Asked], tuple[Command, Caller]]
    operate: Operate[Command, Done] | InLine[Command, Done]
    encode: Callable[[Done], Response]
    target: Callable[[Command], str | None]
    grouping: Grouping = Grouping.TOGETHER
    fast: OperateFast[Command, Done] | None = None
    complete: Callable[[Autocommit, Response], Awaitable[None]] | None = None
    replay: Callable[[Response, datetime], None] | None = None
    is_whole: bool = True
    steps: Callable[[Command], int] = lambda _command: 0


def for_one(do: Callable[[Tx, Command, Caller], Awaitable[Done]]) -> Operate[Command, Done]:
    """Return an operation on one command, which waits for locks, as one on several."""

    async def operate(
        tx: Tx,
        wanted: Sequence[tuple[Command, Caller]],
        *,
        wait: bool,  # noqa: ARG001 - it always does
    ) -> Sequence[Done | ZartError]:
        [(command, caller)] = wanted
        try:
            return [await do(tx, command, caller)]
        except ZartError as error:
            return [error]

    return operate


@dataclass(eq=False, slots=True)
class Call(Generic[Response]):
    """One call of a mutation, and the future of its answer.

    ``is_plan``: it is to be told what it would do. It has no ``request``: what is not done is not
    remembered. ``size``: the bytes that it was asked with, most of which are written.
    """

    mutation: Mutation[Any, Any, Any, Response]
    command: object
    caller: Caller
    target: str | None
    request: Request | None
    is_plan: bool = False
    size: int = 0
    done: asyncio.Future[Response] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    @property
    def key(self) -> RequestKey | None:
        """Its request's key."""
        return None if self.request is None else self.request.key

    @property
    def steps(self) -> int:
        """How many steps it brings with it."""
        return self.mutation.steps(self.command)

    @property
    def names(self) -> Sequence[object]:
        """What no two calls of one transaction may be about: what they lock, and their requests."""
        return (self.target,) if self.request is None else (self.target, self.request.key)

    def settle(self, answer: Response | BaseException) -> None:
        """Answer the caller, whether it still waits or not."""
        if self.done.done():
            return
        if isinstance(answer, asyncio.CancelledError):
            self.done.cancel()
        elif isinstance(answer, BaseException):
            self.done.set_exception(answer)
        else:
            self.done.set_result(answer)
