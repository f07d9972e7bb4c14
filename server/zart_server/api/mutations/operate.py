"""The operation of a batched mutation: for several callers, or for one."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import NamedTuple, Protocol, TypeVar

from zart_server.domain.commands import Caller
from zart_server.domain.errors import ZartError
from zart_server.engine.operations.requests import RequestKey
from zart_server.store.db import Tx

Asked_contra = TypeVar("Asked_contra", contravariant=True)
Given_co = TypeVar("Given_co", covariant=True)


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


class Alone(Protocol[Asked_contra, Given_co]):
    """Does what one caller asks for and stores its incomplete answer, without a transaction.

    Return None, having done nothing, if the operation needs a transaction.
    """

    def __call__(
        self, tx: Tx, wanted: Asked_contra, request: Request | None
    ) -> Awaitable[Given_co | None]:
        """Do it."""
