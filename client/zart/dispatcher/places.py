"""Where a step's error was raised, for the log."""

from __future__ import annotations

import traceback
from pathlib import Path

_OURS = str(Path(__file__).parent)


def place_of(error: BaseException) -> str:
    """Return the last line of the file that the step is in, or of whatever was called instead.

    What a library did below it is in the traceback, which is recorded.
    """
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not _is_ours(f.filename)]
    if not frames:
        return ""
    last = next(f for f in reversed(frames) if f.filename == frames[0].filename)
    return f" ({last.filename}:{last.lineno} in {last.name})"


def _is_ours(filename: str) -> bool:
    return filename.startswith(_OURS)
