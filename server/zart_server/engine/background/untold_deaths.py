"""Tells of which kind the errors are that steps died of, where nobody has yet."""

from __future__ import annotations

from zart_server.domain.error_kinds import ErrorKind
from zart_server.store.db import Database
from zart_server.store.dead_steps import UntoldDeath, find_untold, has_untold, tell_kinds
from zart_server.store.definitions import find_definitions
from zart_server.store.slices import in_slices

_PIECE = 500


async def tell_untold_deaths(db: Database) -> bool:
    """Tell some, in a transaction of its own; return whether there may be more.

    Nothing is locked while it is computed of which kinds they are.
    """
    async with db.autocommit() as connection:
        if not await has_untold(connection):
            return False
        untold = await find_untold(connection, _PIECE)
        if not untold:
            return False
        definitions = await find_definitions(connection, {one.definition_key for one in untold})
        version = connection.fingerprint.number

        def kind(one: UntoldDeath) -> ErrorKind:
            definition = definitions[one.definition_key]
            step_name = definition.queued[one.dead.step_no].step_name
            return ErrorKind.of(definition.task_name, step_name, one.dead.error, version)

        kinds = await in_slices(connection, untold, kind)
        told = await tell_kinds(await connection.begin(), [one.dead for one in untold], kinds)
    return told == _PIECE
