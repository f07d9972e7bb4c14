"""Plans: a request is answered with what it would do, and a token by which just that is done later.

A token binds decisions by name, never counts: what moves by itself makes no plan stale. It grants
nothing, so it is not signed; its checksum only tells it from a text that is none.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, TypeAlias

from zart_server.domain.errors import PlanChanged

GOOD_FOR = timedelta(hours=1)
Decisions: TypeAlias = Mapping[str, bytes]

# The names of what is decided: of a step, a run, a rerun, a new pause rule, and of standing ones.
OF_STEP = ("run", "step_status", "attempt", "withheld", "in_doubt")
OF_RUN = ("run", "definition_version", "in_doubt")
OF_RERUN = (*OF_RUN[:2], "effective_rerun", "preserved", "potentially_stale", "in_doubt")
OF_PAUSE = ("matching_steps", "equal_rules")
OF_RULES = ("rules", "statuses", "exemptions")

_VERSION = 2
_HEAD = struct.Struct(">BI3s")  # the version, seconds since 1970, and microseconds
_HASH = 9  # bytes: so that all parts together need no padding
_CHECKSUM = 4


def digest(*values: object) -> bytes:
    """Return the hash of values that JSON can write."""
    text = json.dumps(values, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:_HASH]


def decided(**decisions: object) -> Decisions:
    """Return decisions as a token binds them, by name."""
    return {name: digest(value) for name, value in decisions.items()}


class PlanToken(NamedTuple):
    """What a plan was made for, when, and what was decided, in the order of the decisions."""

    made_at: datetime
    request: bytes
    decisions: tuple[bytes, ...]

    def to_text(self) -> str:
        """Write the token."""
        seconds = int(self.made_at.replace(microsecond=0).timestamp())
        head = _HEAD.pack(_VERSION, seconds, self.made_at.microsecond.to_bytes(3))
        body = head + self.request + b"".join(self.decisions)
        return base64.urlsafe_b64encode(body + _checksum(body)).decode()

    @classmethod
    def of_text(cls, text: str) -> PlanToken:
        """Read a token. Raises ValueError for a text that is none."""
        try:
            raw = base64.b64decode(text, altchars=b"-_", validate=True)
        except binascii.Error:
            raise ValueError(text) from None
        body, checksum = raw[:-_CHECKSUM], raw[-_CHECKSUM:]
        hashes = body[_HEAD.size :]
        if not hashes or len(hashes) % _HASH or _checksum(body) != checksum:
            raise ValueError(text)
        version, seconds, rest = _HEAD.unpack_from(body)
        if version != _VERSION:
            raise ValueError(text)
        made_at = datetime.fromtimestamp(seconds, UTC).replace(microsecond=int.from_bytes(rest))
        request, *decisions = (hashes[at : at + _HASH] for at in range(0, len(hashes), _HASH))
        return cls(made_at, request, tuple(decisions))


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()[:_CHECKSUM]


@dataclass(frozen=True, slots=True)
class Planning:
    """Whether a request asks for a plan, and the plan that it is to do, if any.

    ``request`` is the hash of what it asks for: set if one of the two is. ``has_begun``: a call
    before has begun to do the plan, in time, and this one goes on with it.
    """

    validate_only: bool = False
    token: PlanToken | None = None
    request: bytes = b""
    has_begun: bool = False

    def __bool__(self) -> bool:
        return self.validate_only or self.token is not None

    def check(self, decisions: Decisions, now: datetime) -> None:
        """Raise PlanChanged unless the token, if there is one, was given for these decisions."""
        if self.token is None:
            return
        if not self._is_of_request(self.token, decisions):
            raise PlanChanged(["request"])
        found = zip(decisions.items(), self.token.decisions, strict=True)
        changed = [name for (name, value), planned in found if value != planned]
        if changed := changed + self._age(self.token, now):
            raise PlanChanged(changed)

    def moved(self, bound: Collection[str], changed: str, now: datetime) -> PlanChanged | None:
        """Return that ``changed`` is no more what the plan met, if there is a token.

        Of what is refused before there is anything to decide, or though all that is ``bound`` (the
        names of the decisions, in their order) is as it was.
        """
        if self.token is None:
            return None
        if not self._is_of_request(self.token, bound):
            return PlanChanged(["request"])
        return PlanChanged(list(dict.fromkeys([changed, *self._age(self.token, now)])))

    def _is_of_request(self, token: PlanToken, bound: Collection[str]) -> bool:
        is_same = token.request == self._bound_request(bound)
        return is_same and len(token.decisions) == len(bound)  # another number: a forged one

    def _age(self, token: PlanToken, now: datetime) -> list[str]:
        is_old = now - token.made_at > GOOD_FOR and not self.has_begun
        return ["time"] if is_old else []

    def token_of(self, decisions: Decisions, now: datetime) -> str:
        """Return the token of a plan; empty for a deed, which leaves nothing to be done."""
        if not self.validate_only:
            return ""
        request = self._bound_request(decisions)
        return PlanToken(now, request, tuple(decisions.values())).to_text()

    def _bound_request(self, bound: Collection[str]) -> bytes:
        """Hash the request with the names of the decisions, which are another server's perhaps."""
        return digest(self.request.hex(), *bound)


NO_PLAN = Planning()
