"""Client certificates: a file says which name has which roles."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from zart_server.domain.identity import Identity
from zart_server.identity.grants import Grant, GrantFile


class Certificates(GrantFile[Grant]):
    """The names of a file. Raises IdentityFileError where it cannot be used."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, Grant)

    def learn(self, grants: list[Grant]) -> None:
        """Know these names and no others."""
        self.check_unique([grant.name for grant in grants])
        self._known = {grant.name: grant.to_identity() for grant in grants}

    def find(self, names: Iterable[str]) -> Identity | None:
        """Return who has a verified certificate of these names: the first one that the file has."""
        return next((self._known[name] for name in names if name in self._known), None)
