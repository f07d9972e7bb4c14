"""Who calls, and what they may do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a caller may do; ``api.policy`` says which calls need which."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    STARTER = "starter"
    DISPATCHER = "dispatcher"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller, as the server verified it.

    ``principal`` goes on record beside what the caller claims; it is empty where callers are not
    authenticated. ``task_names``: the only tasks that it may dispatch; None: any.
    """

    principal: str
    roles: frozenset[Role]
    task_names: frozenset[str] | None = None


# Whoever calls a server that asks nobody who they are.
ANYBODY = Identity("", frozenset(Role))
