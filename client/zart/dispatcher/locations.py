"""The line of code that raised a step's error, for the log."""

from __future__ import annotations

import traceback
from pathlib import Path

_OURS = str(Path(__file__).parent)


def location_of(error: BaseException) -> str:
    """Return the innermost frame in the step's own file, or in the file that was called instead.

    The frames of libraries below it are in the traceback, which is recorded.
    """
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not _is_ours(f.filename)]
    if not frames:
        return ""
    last = next(f for f in reversed(frames) if f.filename == frames[0].filename)
    return f" ({last.filename}:{last.lineno} in {last.name})"


def _is_ours(filename: str) -> bool:
    return filename.startswith(_OURS)
