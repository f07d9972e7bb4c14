"""The line of code that raised a step's error, for the log."""

from __future__ import annotations

import traceback
from pathlib import Path
from types import TracebackType

_OURS = str(Path(__file__).parent)


def location_of(at: TracebackType | None) -> str:
    """Return the innermost frame in the step's own file, or in the file that was called instead.

    ``at``: the error's frames. Those of libraries below it are in what is recorded.
    """
    # Not ``extract_tb``, which reads the lines as well.
    frames = [
        (frame.f_code, line)
        for frame, line in traceback.walk_tb(at)
        if not _is_ours(frame.f_code.co_filename)
    ]
    if not frames:
        return ""
    name = frames[0][0].co_filename
    code, line = next(at for at in reversed(frames) if at[0].co_filename == name)
    return f" ({name}:{line} in {code.co_name})"


def _is_ours(filename: str) -> bool:
    return filename.startswith(_OURS)
