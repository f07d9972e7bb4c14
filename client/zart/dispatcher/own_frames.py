"""The frames that one attempt has added to the traceback of its error; and that they are let go.

Many attempts may raise the same object: a constant of a module, or what a future keeps. Python adds
the frames of each to those that it has. They would be told with every later attempt, of other
executions, and with them their payloads be kept for ever.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from types import TracebackType

_HANDLERS = str(Path(__file__).with_name("handlers.py"))  # the file that calls them
_OF_COROUTINES = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
# As BaseException has them, whatever a step's own class makes of them.
_OF_ERRORS = vars(BaseException)
_traceback = _OF_ERRORS["__traceback__"]
_context = _OF_ERRORS["__context__"]
_cause = _OF_ERRORS["__cause__"]
_members = vars(BaseExceptionGroup)["exceptions"]
# To be called first of all where an error is caught: another thread may raise the same object.
traceback_of = _traceback.__get__


def own_frames(at: TracebackType) -> TracebackType | None:
    """Return the frames from the first one, which caught the error, to where another attempt did.

    ``at`` is as ``traceback_of`` returned it. Whose attempt is not told yet has its frames there.
    """
    own: list[TracebackType] = []
    each: TracebackType | None = at
    while each is not None and not _caught(each, at):
        own.append(each)
        each = each.tb_next
    return at if each is None else linked(own)


def linked(frames: list[TracebackType]) -> TracebackType | None:
    """Return a traceback of these frames; those that they are from stay as they are."""
    at: TracebackType | None = None
    for each in reversed(frames):
        line = -1 if each.tb_lineno is None else each.tb_lineno  # -1: of its instruction
        at = TracebackType(at, each.tb_frame, each.tb_lasti, line)
    return at


def let_go(error: BaseException) -> None:
    """Have an error that is told keep nothing of its attempt: no frames, nor what was handled then.

    So do its causes, and the errors of a group. A cause itself is kept: it may be what the error
    was made with. One that no attempt has raised, as where a module could not be configured, keeps
    its frames: they are told with each error of which it is the cause.
    """
    seen: dict[int, BaseException] = {}
    waiting: list[tuple[BaseException | None, bool]] = [(error, True)]
    while waiting:
        each, is_own = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen[id(each)] = each
        is_own = is_own or _is_of_an_attempt(traceback_of(each))
        waiting += ((_cause.__get__(each), False), (_context.__get__(each), False))
        if issubclass(type(each), BaseExceptionGroup):
            waiting += ((member, is_own) for member in _members.__get__(each))
        if is_own:
            _traceback.__set__(each, None)
            _context.__set__(each, None)


def _is_of_an_attempt(at: TracebackType | None) -> bool:
    """Return whether a handler, or what one called, may have caught it last.

    The frame of a coroutine that has ended does not tell who awaited it: that may be a handler.
    """
    frame = None if at is None else at.tb_frame
    while frame is not None:
        code = frame.f_code
        if code.co_filename == _HANDLERS or code.co_flags & _OF_COROUTINES:
            return True
        frame = frame.f_back
    return False


def _caught(at: TracebackType, first: TracebackType) -> bool:
    """Return whether it is another frame of the file that catches errors, which calls handlers."""
    file = first.tb_frame.f_code.co_filename
    return at.tb_frame is not first.tb_frame and at.tb_frame.f_code.co_filename == file
