"""Errors about the server: what hinders it, whatever it is asked for."""

from __future__ import annotations

from collections.abc import Sequence

from zart_server.domain.errors.base import ZartError


class StoreConflict(ZartError):
    """Concurrent changes, also after repeats."""

    reason = "STORE_CONFLICT"

    def __init__(self, what: str = "concurrent changes") -> None:
        super().__init__(f"{what} got in the way: repeat the call")


class PauseRulesChanged(StoreConflict):
    """The pause rules are not those that were judged by, though these were read under the lock."""

    reason = "STORE_CONFLICT"

    def __init__(self) -> None:
        super().__init__("pause rules that changed twice")


class OperationTimeout(ZartError):
    """The operation took too long in the server.

    ``held_by`` names who held the pause lock, where that is why, and nothing was changed.
    """

    reason = "OPERATION_TIMEOUT"

    def __init__(self, held_by: Sequence[str] | None = None) -> None:
        if held_by is None:
            super().__init__("the operation took too long: repeat it with the same request_id")
            return
        who = " and ".join(held_by) or "others, in turn"
        super().__init__(
            f"the pause lock was held by {who}: nothing was changed;"
            " repeat it with the same request_id",
            held_by=", ".join(held_by),
        )


class StoreUnavailable(ZartError):
    """The database cannot serve now."""

    reason = "STORE_UNAVAILABLE"

    def __init__(self) -> None:
        super().__init__("the database cannot serve now: repeat in a moment")


class ShuttingDown(ZartError):
    """This server is stopping."""

    reason = "SHUTTING_DOWN"

    def __init__(self) -> None:
        super().__init__("this server is stopping: repeat, another one serves")


class ServerBusy(ZartError):
    """This server has as many calls as it takes."""

    reason = "SERVER_BUSY"

    def __init__(self) -> None:
        super().__init__("this server has as many calls as it takes: repeat in a moment")


class KeysUnavailable(ZartError):
    """The keys that tokens are verified by were never there: nobody can tell who calls."""

    reason = "KEYS_UNAVAILABLE"

    def __init__(self) -> None:
        super().__init__("the keys that tokens are verified by could not be fetched yet: repeat")
