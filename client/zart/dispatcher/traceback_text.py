"""The text of an error's traceback: that of ``traceback.format_exception``, without its cost.

The standard library asks for each frame whether its file has changed, and parses the line to mark
what failed in it. That was most of what a failed attempt cost its dispatcher. Steps that fail do so
at the same few lines again and again: here the text of each is made once.
"""

from __future__ import annotations

import sys
import traceback
from types import CodeType, TracebackType
from typing import Any

from zart.dispatcher.own_frames import linked, traceback_of

_MOST = 1000  # frames of which the text is kept
_LONGEST = 4000  # characters of a text that is kept
_DEEPEST = 50  # frames; what is deeper is mostly recursion
# Frames of an error that are told at most: each costs, and what is told has an end long before.
_OUTERMOST = 20
_INNERMOST = 80
# What is told of them is more than their frames and their message.
_TOLD_OTHERWISE = (BaseExceptionGroup, SyntaxError, NameError, AttributeError, ImportError)
# By the code's id, the instruction and its line. The code is kept too: so its id stays its own.
_texts: dict[tuple[int, int, int | None], tuple[CodeType, str]] = {}


def traceback_text(error: BaseException, at: TracebackType | None = None) -> str:
    """Return what ``traceback.format_exception`` tells of an error, as one text.

    ``at``: its frames; None: those that it has. Of very many the middle is left out, which is told;
    so it is of its causes, and of the errors in a group. A frame that was told before is told by
    the lines that its file had then.
    """
    at = traceback_of(error) if at is None else at
    frames = _frames(at) if _is_told_by_frames(error) else None
    if frames is None:
        return _by_the_library(error, at)
    if frames:
        frames.insert(0, "Traceback (most recent call last):\n")
    return "".join([*frames, *traceback.format_exception_only(error)])


def _by_the_library(error: BaseException, at: TracebackType | None) -> str:
    if getattr(sys, "tracebacklimit", None) is not None:  # the process's own
        return "".join(traceback.format_exception(type(error), error, at))
    # With no frames yet: a limit would leave out the outermost ones, and tell nobody.
    whole = traceback.TracebackException(type(error), error, at, limit=0, compact=True)
    waiting: list[tuple[traceback.TracebackException, Any, TracebackType | None]]
    waiting = [(whole, error, at)]
    while waiting:
        told, of, at = waiting.pop()
        if at is not None:
            told.stack = _stack(at)
        beside = [(told.__cause__, of.__cause__), (told.__context__, of.__context__)]
        if told.exceptions:
            beside += zip(told.exceptions, of.exceptions, strict=False)
        waiting += [(its, each, traceback_of(each)) for its, each in beside if its is not None]
    return "".join(whole.format())


def _stack(at: TracebackType) -> traceback.StackSummary:
    """Return the frames of an error as they are told."""
    frames: list[TracebackType] = []
    each: TracebackType | None = at
    while each is not None:
        frames.append(each)
        each = each.tb_next
    left_out = len(frames) - _OUTERMOST - _INNERMOST
    if left_out <= 0:
        return _extracted(at)
    ends = linked([*frames[:_OUTERMOST], *frames[-_INNERMOST:]])
    return _Shortened(_extracted(ends), left_out)


def _extracted(at: TracebackType | None) -> traceback.StackSummary:
    # Not ``extract_tb``, which does not know what part of a line failed.
    return traceback.TracebackException(Exception, Exception(), at).stack


class _Shortened(traceback.StackSummary):
    """The first and the last frames of very many."""

    def __init__(self, frames: traceback.StackSummary, left_out: int) -> None:
        super().__init__(frames)
        self._left_out = left_out

    def format(self, **options: bool) -> list[str]:
        outer, inner = (
            traceback.StackSummary.from_list(frames).format(**options)
            for frames in (self[:_OUTERMOST], self[_OUTERMOST:])
        )
        return [*outer, f"  ({self._left_out} frames are left out here)\n", *inner]


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
