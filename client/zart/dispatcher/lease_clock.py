"""The clock of leases: ``time.monotonic`` where a machine never sleeps.

A lease goes on at the server while a dispatcher's machine is suspended. The monotonic clock of
Linux does not count that: old leases would look new after it.
"""

from __future__ import annotations

import time

_BOOT = getattr(time, "CLOCK_BOOTTIME", None)  # Linux has it: it counts suspended time, too
# Begun together, the two tell the same until the first suspend, however often there was one before.
_APART = 0.0 if _BOOT is None else time.clock_gettime(_BOOT) - time.monotonic()


def now() -> float:
    """Return seconds that never go back; from any thread."""
    return time.monotonic() if _BOOT is None else time.clock_gettime(_BOOT) - _APART
