"""Errors about who calls: nobody that is known, or somebody who may not."""

from __future__ import annotations

from zart.errors.base import Refused


class MissingCredentials(Refused):
    """No credentials were sent."""

    reason = "MISSING_CREDENTIALS"


class InvalidCredentials(Refused):
    """The credentials do not hold."""

    reason = "INVALID_CREDENTIALS"


class RoleRequired(Refused):
    """The caller lacks the role."""

    reason = "ROLE_REQUIRED"
