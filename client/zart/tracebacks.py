"""The types of an exception and the lines of code that raised it, without its text.

The text of an exception may have a payload, a statement or a password in it, and many people read a
log. Types and lines are enough to find the fault.
"""

from __future__ import annotations

import traceback


def locations_of(error: BaseException) -> str:
    """Return the types of an exception and of its causes, each with its frames."""
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
