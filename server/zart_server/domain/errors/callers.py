"""Errors about who calls: nobody that is known, or somebody who may not."""

from __future__ import annotations

from zart_server.domain.errors.base import ZartError


class Unauthenticated(ZartError):
    """The server does not know who calls.

    ``why`` is for the server's log only. ``retry_after``: seconds to wait, where the caller's
    address failed too often; ``untold``: how many such failures the log does not tell of.
    """

    def __init__(self, message: str, why: str = "") -> None:
        super().__init__(message)
        self.why = why
        self.retry_after: float | None = None
        self.untold = 0


class MissingCredentials(Unauthenticated):
    """No credentials were sent."""

    reason = "MISSING_CREDENTIALS"

    def __init__(self) -> None:
        super().__init__("credentials are needed: a bearer token, or a certificate of a known name")


class InvalidCredentials(Unauthenticated):
    """The credentials do not hold."""

    reason = "INVALID_CREDENTIALS"

    def __init__(self, why: str = "") -> None:
        super().__init__("the credentials do not hold", why)


class RoleRequired(ZartError):
    """The caller lacks the role."""

    reason = "ROLE_REQUIRED"

    def __init__(self, role: str, of_what: str = "") -> None:
        super().__init__(f"role '{role}' is needed{of_what and ' '}{of_what}", role=role)
