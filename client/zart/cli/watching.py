"""Watches for commands: where one breaks it is said once, and it goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from zart.calls.call import Call
from zart.cli.bar import Bar
from zart.cli.session import Session

T = TypeVar("T")
_BROKEN = "no answer from the server, trying again"


def watched(
    session: Session, call: Call[Any], *, timeout: float | None = None, bar: Bar | None = None
) -> Iterator[Any]:
    """Return the messages of a call that watches, as they come; meanwhile a ``bar`` may be shown.

    Raises what the call does, and ReaderLeft as ``while_read``. After ``timeout`` seconds it raises
    what the watch broke with, if it was told nothing since; else TimeoutError.
    """
    from zart import streams  # noqa: PLC0415 - gRPC takes a while
    from zart.waiting import Reconnecting  # noqa: PLC0415 - so it does

    again = Reconnecting(telling(session, bar))
    messages = streams.watch_sync(session.client.channel, call, timeout, again)
    return while_read(session, messages)


def while_read(session: Session, messages: Iterator[T]) -> Iterator[T]:
    """Return messages for as long as somebody reads what the command prints. Raises ReaderLeft.

    Some are printed nowhere, as a server's signs of life: no write tells that ``| head`` has ended.
    """
    for message in messages:
        session.out.check_reader()
        yield message


def telling(session: Session, bar: Bar | None = None) -> Callable[[], None]:
    """Return what says that a watch broke; who wants JSON reads a Status there, or nothing."""

    def on_break() -> None:
        if bar is not None and session.err.is_terminal:
            bar.line(_BROKEN)
        else:
            session.tell(_BROKEN)

    return on_break
