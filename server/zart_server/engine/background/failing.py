"""For how long something fails that is tried again and again, at once or slowly."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

# Seconds from a failure on in which another one is of the same trouble, whatever goes well between:
# what is in the way may be passed over for ten. More of them if it failed slowly: another server
# may have been at it meanwhile. Never more than a minute: what goes well for so long is over, and a
# turn may have gone on for hours before one piece of it failed.
_STAYS = 20.0
_TIMES_AS_LONG = 10.0
_STAYS_AT_MOST = 60.0


class Failing:
    """Is told of each turn of a loop, and of each failure; tells for how long it fails by now."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._began_at = now()  # the turn that is the last one
        self._has_failed = False  # in that turn
        self._since = -math.inf  # the first failure of the last trouble
        self._failed_at = -math.inf  # the last one
        self._is_well = True  # what was last tried to the end
        self._stays = 0.0

    def begin(self) -> None:
        """Note that a turn begins."""
        self._began_at = self._now()
        self._has_failed = False

    def fail(self) -> None:
        """Note a failure, in a turn or beside it."""
        now = self._now()
        if self._is_over(now):
            self._since, self._stays = now, 0.0
        self._failed_at = now
        slowly = min(_TIMES_AS_LONG * (now - self._began_at), _STAYS_AT_MOST)
        self._stays = max(_STAYS, self._stays, slowly)
        self._is_well, self._has_failed = False, True

    def go_well(self) -> None:
        """Note that a piece of a turn went well: of a turn that may go on for hours."""
        self._is_well, self._has_failed = True, False

    def end(self) -> None:
        """Note that a turn is over, and nothing is under way beside it."""
        self._is_well |= not self._has_failed

    @property
    def is_well(self) -> bool:
        """Whether what was last tried to the end went well."""
        return self._is_well

    def seconds(self) -> float:
        """Return for how long it has failed; 0: it does not."""
        now = self._now()
        return 0.0 if self._is_over(now) else now - self._since

    def _is_over(self, now: float) -> bool:
        return self._is_well and now > self._failed_at + self._stays
