"""Where an exception came from, without what it says.

An exception's text may hold whatever was at hand: a payload, a statement, a password. A log is
read by many; kinds and places are enough to find the fault by.
"""

from __future__ import annotations

import traceback


def places_of(error: BaseException) -> str:
    """Return the kinds of an exception and of those behind it, each with its frames."""
    lines: list[str] = []
    seen: set[int] = set()
    at: BaseException | None = error
    while at is not None and id(at) not in seen:
        seen.add(id(at))
        kind = type(at)
        lines.append(f"{kind.__module__}.{kind.__qualname__}, raised at:")
        lines += [
            f"  {frame.filename}:{frame.lineno} in {frame.name}"
            for frame in traceback.extract_tb(at.__traceback__)
        ]
        at = at.__cause__ or (None if at.__suppress_context__ else at.__context__)
        if at is not None:
            lines.append("after")
    return "\n".join(lines)
