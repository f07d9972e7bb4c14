"""Who makes the call that is being served: set by the interceptor, read where it matters."""

from __future__ import annotations

from contextvars import ContextVar

from zart_server.domain.identity import ANYBODY, Identity, Role

# Every call is served in a task of its own, and tasks that it starts see the same identity.
CALLING: ContextVar[Identity] = ContextVar("calling", default=ANYBODY)


def principal() -> str:
    """Name the caller, as the server verified it; empty where callers are not authenticated."""
    return CALLING.get().principal


def may_have(role: Role) -> bool:
    """Return whether the caller has a role that the call needs for what is in it."""
    roles = CALLING.get().roles
    return role in roles or Role.ADMIN in roles
