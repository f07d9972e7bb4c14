"""Kinds of errors: of one group, of one step of a task."""

from __future__ import annotations

import functools
import hashlib
from typing import NamedTuple

from zart_server.domain.fingerprint import fingerprint
from zart_server.domain.model import StepError


class ErrorKind(NamedTuple):
    """Errors of one group, of one step of a task.

    Errors that were regrouped by a newer version of the fingerprint have their former group, too.
    """

    task_name: str
    step_name: str
    error_group_id: str
    type: str
    template: str
    former_id: str | None = None
    former_template: str | None = None

    @classmethod
    def of(cls, task_name: str, step_name: str, error: StepError | None, version: int) -> ErrorKind:
        """Return the kind of an error, by a version of the fingerprint.

        A step that failed without an error has an empty one.
        """
        found = error or StepError("", "")
        return cls(task_name, step_name, *fingerprint(found.type, found.message, version))

    @property
    def key(self) -> int:
        """Its key in the database, the same on every server: nobody has to look it up."""
        group = self.error_group_id
        if self.former_id is not None:
            group += f"\0{self.former_id}"
        return _key_of(self.task_name, self.step_name, group)


# In a storm of deaths most are of few kinds.
@functools.lru_cache(maxsize=256)
def _key_of(task_name: str, step_name: str, group: str) -> int:
    text = f"{task_name}\0{step_name}\0{group}"
    digest = hashlib.sha256(text.encode(errors="replace")).digest()
    return int.from_bytes(digest[:8]) >> 1
