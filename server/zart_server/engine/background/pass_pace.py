"""How fast a pass through what has ended goes, and how long it rests then.

A pass goes by one moment: what becomes due meanwhile is the next one's. So the longer it takes, the
later is what it removes, and what follows, and the faster it has to go.
"""

from __future__ import annotations

from dataclasses import dataclass

_LEAST_REST, _MOST_REST = 5.0, 600.0  # seconds between two passes
# A pass and its rest take so many times as long as it was looked without removing anything, such as
# at many that stay: so that takes a twentieth of a connection's time, and what may go by then is
# removed a little later.
_WHOLE = 20.0


@dataclass(slots=True)
class PassPace:
    """The pace of a pass that ``begun`` at a moment of this server's clock, in seconds.

    ``idle``: seconds for which it was looked without removing any. ``removes``: whether it has
    removed some.
    """

    begun: float
    idle: float = 0.0
    removes: bool = False

    def overdue(self, by_then: float, now: float) -> float:
        """Return for how many seconds what was overdue by so many as the pass began is by now."""
        return by_then + now - self.begun

    def behind(self, now: float) -> float:
        """Return by how many seconds a look at what stays delays what has become due meanwhile.

        None, as far as the pass knows, until it has removed something.
        """
        return self.overdue(0.0, now) if self.removes else 0.0

    def rest(self, now: float) -> float:
        """Return for how many seconds to rest after it."""
        return min(max(_LEAST_REST, self.idle * _WHOLE - (now - self.begun)), _MOST_REST)
