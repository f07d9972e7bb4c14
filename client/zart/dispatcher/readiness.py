"""Whether a dispatcher can do its work, told to who wants to know when it changes."""

from __future__ import annotations

from collections.abc import Callable


class Readiness:
    """Calls ``tell`` with True once work can be leased, with False when it can not any more.

    ``can_lease``: whether it can, or could before it was told to stop.
    """

    def __init__(self, tell: Callable[[bool], None] | None) -> None:
        self._tell = tell
        self._is_ready = self.can_lease = False
        self._has_ended = False

    def set(self, is_ready: bool) -> None:  # noqa: FBT001 - the value that is set
        """Note that the server has answered or could not be asked; nothing after the end."""
        if not self._has_ended:
            self.can_lease = is_ready
            self._change(is_ready=is_ready)

    def end(self) -> None:
        """Be ready no more: the dispatcher stops."""
        self._change(is_ready=False)
        self._has_ended = True

    def _change(self, *, is_ready: bool) -> None:
        if is_ready is not self._is_ready:
            self._is_ready = is_ready
            if self._tell is not None:
                self._tell(is_ready)
