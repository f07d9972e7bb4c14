"""Lets calls in: first who it is, then whether its roles suffice."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from zart_server.api import policy
from zart_server.api.context import Context
from zart_server.api.identity import CALLING
from zart_server.api.peer import address_of
from zart_server.domain.errors import InvalidCredentials, RoleRequired, Unauthenticated
from zart_server.domain.identity import Identity
from zart_server.identity.authenticator import Authenticator
from zart_server.identity.failures import Failures

_HEADER = "authorization"
_DELAYED_AT_MOST = 500
Metadata: TypeAlias = Iterable[tuple[str, str | bytes]] | None


STRANGER = Identity("", frozenset())  # whoever makes a call that is open to all


@dataclass(frozen=True, slots=True)
class AccessVerdict:
    """Who calls, and what the call is refused with, if it is."""

    identity: Identity
    error: Exception | None = None


OPEN_TO_ALL = AccessVerdict(STRANGER)


@dataclass(frozen=True, slots=True)
class Shown:
    """What a caller has shown of who it is: its call's metadata, the names of its certificate."""

    metadata: tuple[tuple[str, str | bytes], ...]
    certificate: Sequence[str]


class AccessControl:
    """What stands before every call of a server that asks who calls.

    It judges before anything is looked at: what is there and what is not look alike to who may
    not see.
    """

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator
        self._failures = Failures()
        self._delayed = 0

    async def judge(self, method: str, metadata: Metadata, *, exists: bool) -> AccessVerdict | None:
        """Judge a call by what it brings along, before its message is read.

        None: its certificate tells, which is known only once the call is taken.
        """
        need = policy.need_of(method, exists=exists)
        if need is policy.Access.OPEN:
            return OPEN_TO_ALL
        try:
            header = _header(metadata)
            if header is None and self._authenticator.asks_for_certificates:
                return None
            return _judged(await self._authenticator.identify(header, ()), need)
        except Exception as error:  # noqa: BLE001 - a defect must not let anybody in either
            return AccessVerdict(STRANGER, error)

    def shown_by(self, context: Context) -> Shown:
        """Return what a caller has shown, for judging what comes within its call."""
        return Shown(tuple(context.invocation_metadata() or ()), _certificate(context))

    async def judge_again(self, method: str, shown: Shown) -> AccessVerdict:
        """Judge what comes within a call as a call of its own: a token may have ended meanwhile."""
        verdict = await self.judge(method, shown.metadata, exists=True)
        if verdict is None:
            verdict = await self._judge_names(method, shown.certificate, exists=True)
        return verdict

    async def check_again(self, method: str, shown: Shown, peer: str) -> None:
        """Check that whose call is under way may still make it. Raises why not."""
        verdict = await self.judge_again(method, shown)
        if isinstance(verdict.error, Unauthenticated):
            self.note(verdict.error, peer)
        if verdict.error is not None:
            raise verdict.error

    async def judge_certificate(
        self, method: str, context: Context, *, exists: bool
    ) -> AccessVerdict:
        """Judge a call by its caller's certificate."""
        return await self._judge_names(method, _certificate(context), exists=exists)

    async def _judge_names(
        self, method: str, names: Sequence[str], *, exists: bool
    ) -> AccessVerdict:
        need = policy.need_of(method, exists=exists)
        try:
            return _judged(await self._authenticator.identify(None, names), need)
        except Unauthenticated as error:
            return AccessVerdict(STRANGER, error)

    def note(self, error: Unauthenticated, peer: str) -> None:
        """Count a failure of an address, and note in it what is to become of it."""
        noted = self._failures.note(address_of(peer))
        error.retry_after, error.untold = noted.retry_after, noted.untold

    async def delay(self, error: Unauthenticated) -> None:
        """Delay the answer to one failure too many until its address may fail again.

        At most so many are delayed at once, as each costs memory.
        """
        if error.retry_after is None or self._delayed >= _DELAYED_AT_MOST:
            return
        self._delayed += 1
        try:
            await asyncio.sleep(error.retry_after)
        finally:
            self._delayed -= 1


def _judged(identity: Identity, need: policy.Need) -> AccessVerdict:
    lacks = policy.missing(identity, need)
    return AccessVerdict(identity, RoleRequired(lacks.value) if lacks is not None else None)


def check_tasks(task_names: Sequence[str]) -> None:
    """Check that the caller may dispatch these tasks, whether or not they exist.

    Raises RoleRequired.
    """
    allowed = CALLING.get().task_names
    if allowed is not None and not allowed.issuperset(task_names):
        raise RoleRequired("dispatcher", "of each task named")


def _header(metadata: Metadata) -> str | None:
    """Return the Authorization header. Raises InvalidCredentials where there are several."""
    found = [value for name, value in metadata or () if name == _HEADER]
    if len(found) > 1 or not all(isinstance(value, str) for value in found):
        raise InvalidCredentials("not one Authorization header")
    return str(found[0]) if found else None


def _certificate(context: Context) -> Sequence[str]:
    """Return the names of the caller's certificate, which TLS verified: alternative names first."""
    return tuple(_names(context))


def _names(context: Context) -> Iterator[str]:
    said = context.auth_context()
    for key in ("x509_subject_alternative_name", "x509_common_name"):
        for value in said.get(key, ()):
            yield value.decode(errors="replace")
