"""The text of an error's traceback: that of ``traceback.format_exception``, without its cost.

The standard library asks for each frame whether its file has changed, and parses the line to mark
what failed in it. That was most of what a failed attempt cost its dispatcher. Steps that fail do so
at the same few lines again and again: here the text of each is made once.
"""

from __future__ import annotations

import sys
import traceback
from types import CodeType, TracebackType

_MOST = 1000  # frames of which the text is kept
_LONGEST = 4000  # characters of a text that is kept
_DEEPEST = 50  # frames; what is deeper is mostly recursion
# What is told of them is more than their frames and their message.
_TOLD_OTHERWISE = (BaseExceptionGroup, SyntaxError, NameError, AttributeError, ImportError)
# By the code's id, the instruction and its line. The code is kept too: so its id stays its own.
_texts: dict[tuple[int, int, int | None], tuple[CodeType, str]] = {}


def traceback_text(error: BaseException) -> str:
    """Return what ``traceback.format_exception`` tells of an error, as one text.

    A frame that was told before is told by the lines that its file had then.
    """
    frames = _frames(error.__traceback__) if _is_told_by_frames(error) else None
    if frames is None:
        return "".join(traceback.format_exception(error))
    if frames:
        frames.insert(0, "Traceback (most recent call last):\n")
    return "".join([*frames, *traceback.format_exception_only(error)])


def _is_told_by_frames(error: BaseException) -> bool:
    """Return whether its own frames and its message, with the notes, are all that is told of it."""
    return (
        error.__cause__ is None
        and (error.__context__ is None or error.__suppress_context__)
        and not issubclass(type(error), _TOLD_OTHERWISE)
        and getattr(sys, "tracebacklimit", None) is None
    )


def _frames(at: TracebackType | None) -> list[str] | None:
    """Return the texts of frames; None if they are many, or one line is told twice in a row.

    The standard library folds those that repeat.
    """
    texts: list[str] = []
    last = ""
    while at is not None:
        text = _text_of(at)
        place = text.partition("\n")[0]  # the file, the line and the function
        if place == last or len(texts) == _DEEPEST:
            return None
        texts.append(text)
        last = place
        at = at.tb_next
    return texts


def _text_of(at: TracebackType) -> str:
    code = at.tb_frame.f_code
    key = id(code), at.tb_lasti, at.tb_lineno
    known = _texts.get(key)
    if known is not None:
        return known[1]
    text = "".join(traceback.format_tb(at, limit=1))
    if len(text) <= _LONGEST:
        if len(_texts) >= _MOST:
            _texts.clear()  # of code that is made anew for each attempt, none is met again
        _texts[key] = code, text
    return text
