"""Errors about the server: what hinders it, whatever it is asked for."""

from __future__ import annotations

from zart.errors.base import Refused


class StoreConflict(Refused):
    """Concurrent changes got in the way; repeat the call."""

    reason = "STORE_CONFLICT"


class Unavailable(Refused):
    """The server could not finish; whether it had happened is told by a repeat."""


class OperationTimeout(Unavailable):
    """The operation took too long in the server."""

    reason = "OPERATION_TIMEOUT"


class StoreUnavailable(Unavailable):
    """The server's database cannot serve now."""

    reason = "STORE_UNAVAILABLE"


class ShuttingDown(Unavailable):
    """This server is stopping; another one serves."""

    reason = "SHUTTING_DOWN"


class ServerBusy(Unavailable):
    """The server has as many calls as it takes; it did nothing."""

    reason = "SERVER_BUSY"


class KeysUnavailable(Unavailable):
    """The server has no keys yet to verify tokens by; it did nothing."""

    reason = "KEYS_UNAVAILABLE"


class InternalError(Refused):
    """A defect of the server; ``metadata["error_id"]`` is to be looked up in its log."""

    reason = "INTERNAL"
