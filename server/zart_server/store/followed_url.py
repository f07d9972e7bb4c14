"""Where the database is, and as whom it is used: who that is may change while a server runs.

A file with the URL is looked at before each connection, as platforms replace it where passwords
rotate: the sessions that there are go on, and new ones are made with what stands there then. Only
user and password are taken. Where the rest leads to another database, some connections would be to
that one and the others to this one, and what is at hand of either would be wrong.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, TypeAlias

from zart_server.stamp import Stamp, stamp_of
from zart_server.store.database_url import to_asyncpg_arguments

_log = logging.getLogger(__name__)
_WHO = ("user", "password")


class FollowedUrl:
    """The URL of a database, which stood in ``file``, if it came from one. Raises ValueError."""

    def __init__(self, url: str, file: Path | None = None) -> None:
        self._arguments = to_asyncpg_arguments(url)
        self._file = file if file is not None and str(file).strip() else None
        self._stamp: Stamp = ()  # it may have changed since somebody read the URL from it
        self._failed: Stamp | None = None  # of what could not be used, to say so once

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of ``asyncpg.connect`` by which to connect now.

        A file that cannot be used changes nothing, and is read again for the next connection.
        """
        if self._file is not None:
            stamp = stamp_of(self._file)
            if stamp != self._stamp:
                self._read(self._file, stamp)
        return self._arguments

    def _read(self, file: Path, stamp: Stamp) -> None:
        try:
            found = to_asyncpg_arguments(url_in(file))
        except ValueError as error:
            if stamp != self._failed:
                _log.error("the database's user and password stay as they were: %s", error)
            self._stamp, self._failed = (), stamp
            return
        self._stamp, self._failed = stamp, None
        if _rest(found) != _rest(self._arguments):
            _log.warning(
                "%s has more that is new than user and password: the rest counts after a restart",
                file,
            )
        if _who(found) != _who(self._arguments):
            _log.info("the database's user and password were read anew")
            self._arguments = {**_rest(self._arguments), **_who(found)}


Url: TypeAlias = str | FollowedUrl


def url_in(file: Path) -> str:
    """Return the URL that a file holds. Raises ValueError, which says what is wrong with it."""
    try:
        found = file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ValueError(f"ZART_DATABASE_URL_FILE: {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        found = ""
    if not found or len(found.split()) > 1:
        raise ValueError(
            f"ZART_DATABASE_URL_FILE: {file} must hold one line,"
            " postgresql://user:password@host:port/database"
        )
    return found


def _who(arguments: dict[str, Any]) -> dict[str, Any]:
    return {name: arguments[name] for name in _WHO if name in arguments}


def _rest(arguments: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if name not in _WHO}
