"""The errors that a group of them holds: a step may fail in a TaskGroup of its own."""

from __future__ import annotations


def errors_in(error: BaseException) -> list[BaseException]:
    """Return the errors of a group, of groups within it too, in order; of any other, itself."""
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    found: list[BaseException] = []
    waiting: list[BaseException] = [error]
    while waiting:
        each = waiting.pop()
        if isinstance(each, BaseExceptionGroup):
            # As BaseExceptionGroup has it, whatever a step's own class makes of it.
            waiting.extend(reversed(BaseExceptionGroup.exceptions.__get__(each)))
        else:
            found.append(each)
    return found
