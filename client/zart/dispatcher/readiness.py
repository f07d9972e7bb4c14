"""Whether a dispatcher can do its work, told to who wants to know when it changes."""

from __future__ import annotations

from collections.abc import Callable


class Readiness:
    """Calls ``tell`` with True once work can be leased, with False when it can not any more."""

    def __init__(self, tell: Callable[[bool], None] | None) -> None:
        self._tell = tell
        self._is_ready = False
        self._has_ended = False

    def set(self, is_ready: bool) -> None:  # noqa: FBT001 - the value that is set
        """Note that the server has answered or could not be asked; nothing after the end."""
        if is_ready is not self._is_ready and not self._has_ended:
            self._is_ready = is_ready
            if self._tell is not None:
                self._tell(is_ready)

    def end(self) -> None:
        """Be ready no more: the dispatcher stops."""
        self.set(False)
        self._has_ended = True
