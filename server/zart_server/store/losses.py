"""Whether what changes the schema begins anew once its connection is lost, and for how long."""

from __future__ import annotations

import asyncio
import logging

from zart_server.domain.errors import StoreUnavailable
from zart_server.store.driver_errors import cause_of, translate
from zart_server.store.schema import SchemaOutdated
from zart_server.store.sessions import SessionRefused

_log = logging.getLogger(__name__)
_AWAY = 10.0  # seconds from a loss on in which a version is to be made, or it is begun anew


class Losses:
    """Knows of a lost connection whether to begin anew, as a server does: the database may be back.

    Not for ever: a version may itself be what the database cannot bear.
    """

    def __init__(self) -> None:
        self._was_connected = False
        self._since: float | None = None

    def connected(self) -> None:
        """Note that there is a database: else the URL may be wrong."""
        self._was_connected = True

    def made(self) -> None:
        """Note that a version was made."""
        self._since = None

    def can_be_borne(self, error: Exception) -> bool:
        """Return whether to try again, and tell in the log what the error is then."""
        is_outage = isinstance(translate(error), StoreUnavailable)
        if not (is_outage and self._was_connected) or isinstance(
            error, (SessionRefused, SchemaOutdated)
        ):
            return False
        now = asyncio.get_running_loop().time()
        if self._since is None:
            self._since = now
            _log.warning("the change of the schema is begun anew: %s", cause_of(error))
        return now - self._since < _AWAY
