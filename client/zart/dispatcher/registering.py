"""Registers the tasks of a dispatcher, however long no server can be reached."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from zart.calls import dispatch
from zart.client import Client
from zart.dispatcher.backoff import Backoff
from zart.dispatcher.log import Log
from zart.dispatcher.stopping import unless
from zart.dispatcher.trouble import Trouble
from zart.errors import ClientClosed, InvalidField, PayloadTooLarge, TooManyItems, ZartError
from zart.tasks import Task

_log = Log(__name__)
_BAD_DEFINITION = (InvalidField, PayloadTooLarge, TooManyItems)


async def register(tasks: Iterable[Task], client: Client, stop: asyncio.Event) -> bool:
    """Register tasks, and return whether all are; False: ``stop`` was set before.

    Raises Refused if the server says that a definition is wrong, and ClientClosed; all else is
    tried again.
    """
    backoff = Backoff()
    trouble = Trouble(_log, "no server takes the tasks")
    for task in tasks:
        while not stop.is_set():
            try:
                await client.send(dispatch.register_task(task.name, task.specs))
                break
            except (*_BAD_DEFINITION, ClientClosed):
                raise
            except ZartError as error:
                trouble.met(error)
                await unless(stop, backoff.wait())
    trouble.over()
    return not stop.is_set()
