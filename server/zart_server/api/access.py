"""Lets calls in: first who it is, then whether its roles suffice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from zart_server.api import policy
from zart_server.api.context import Context
from zart_server.api.identity import CALLING
from zart_server.domain.errors import InvalidCredentials, RoleRequired, Unauthenticated
from zart_server.domain.identity import Identity
from zart_server.identity.authenticator import Authenticator
from zart_server.identity.failures import Failures

_HEADER = "authorization"


class Access:
    """What stands before every call of a server that asks who calls."""

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator
        self._failures = Failures()

    async def admit(self, method: str, context: Context, *, exists: bool = True) -> None:
        """Find out who calls, and that they may; the rest of the call knows them by it.

        Raises MissingCredentials, InvalidCredentials or RoleRequired, before anything is looked
        at: what is there and what is not look alike to who may not see.
        """
        need = policy.need_of(method, exists=exists)
        if need is policy.Access.OPEN:
            CALLING.set(Identity("", frozenset()))
            return
        try:
            identity = await self._authenticator.identify(
                _header(context),
                _certificate(context) if self._authenticator.asks_for_certificates else (),
            )
        except Unauthenticated as error:
            noted = self._failures.note(context.peer().rpartition(":")[0])
            error.retry_after, error.untold = noted.retry_after, noted.untold
            raise
        CALLING.set(identity)
        if not policy.may(identity, need):
            raise RoleRequired(need.value)


def check_tasks(task_names: Sequence[str]) -> None:
    """Check that the caller may dispatch these tasks, whether or not they exist.

    Raises RoleRequired.
    """
    allowed = CALLING.get().task_names
    if allowed is not None and not allowed.issuperset(task_names):
        raise RoleRequired("dispatcher", "of each task named")


def _header(context: Context) -> str | None:
    """Give the Authorization header. Raises InvalidCredentials where there are several."""
    found = [value for name, value in context.invocation_metadata() or () if name == _HEADER]
    if len(found) > 1 or not all(isinstance(value, str) for value in found):
        raise InvalidCredentials("not one Authorization header")
    return str(found[0]) if found else None


def _certificate(context: Context) -> Sequence[str]:
    """Give the names of the caller's certificate, which TLS verified: alternative names first."""
    return tuple(_names(context))


def _names(context: Context) -> Iterator[str]:
    said = context.auth_context()
    for key in ("x509_subject_alternative_name", "x509_common_name"):
        for value in said.get(key, ()):
            yield value.decode(errors="replace")
