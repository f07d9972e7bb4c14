"""Files of grants: one JSON object a line, each naming who gets which roles."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from zart_server.domain.identity import Identity, Role
from zart_server.stamp import Stamp, stamp_of

_log = logging.getLogger(__name__)

# Printable: it goes into logs, tables and terminals.
Principal = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")]


class IdentityFileError(Exception):
    """A file cannot be used; the message names file and line, never what stands there."""


class Grant(BaseModel):
    """The roles of one principal; ``tasks``: the only ones that it may dispatch."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Principal
    roles: frozenset[Role]
    tasks: frozenset[str] | None = None

    def to_identity(self) -> Identity:
        """Return the identity that it stands for."""
        return Identity(self.name, self.roles, self.tasks)


G = TypeVar("G", bound=Grant)


class GrantFile(Generic[G]):
    """A file of grants, read anew when it changes. Raises IdentityFileError."""

    def __init__(self, path: Path, kind: type[G]) -> None:
        self._path = path
        self._kind = kind
        self._stamp = stamp_of(path)
        self._failed: Stamp | None = None  # of what could not be used, to say so once
        self.learn(_read(path, kind))

    def refresh(self, *, anew: bool = False) -> None:
        """Read the file if it changed, or ``anew``; what was known stays if it cannot be used.

        What cannot be used is tried again at each look: what was in the way, too many open files
        perhaps, leaves no trace on the file.
        """
        stamp = stamp_of(self._path)
        if stamp == self._stamp and not anew:
            return
        try:
            grants = _read(self._path, self._kind)
            self.learn(grants)
        except IdentityFileError as error:
            if anew or stamp != self._failed:
                _log.error("what was known stays: %s", error)
            self._stamp, self._failed = (), stamp
        else:
            self._stamp, self._failed = stamp, None
            _log.info("%s was read anew: %d lines", self._path, len(grants))

    def is_stale(self) -> bool:
        """Return whether the file could not be used when it was looked at last."""
        return self._failed is not None

    def learn(self, grants: list[G]) -> None:
        """Know these grants and no others. Raises IdentityFileError where they contradict."""
        raise NotImplementedError

    def check_unique(self, keys: list[str]) -> None:
        """Raise IdentityFileError where two lines speak of the same."""
        if len(set(keys)) < len(keys):
            raise IdentityFileError(f"{self._path} has two lines of the same")


def _read(path: Path, kind: type[G]) -> list[G]:
    """Read a file of grants; empty lines and those that begin with # say nothing."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise IdentityFileError(f"{path} cannot be read ({type(error).__name__})") from None
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            found.append(kind.model_validate_json(line))
        except ValidationError as error:
            where = ", ".join(
                ".".join(map(str, each["loc"])) or "no JSON object" for each in error.errors()
            )
            raise IdentityFileError(f"{path}, line {number} cannot be used: {where}") from None
    return found
