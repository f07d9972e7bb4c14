"""What went wrong, told to people in the words of the command line, to scripts as a Status."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from zart.channel import address_of
from zart.cli.flags import in_flags, words_in_flags
from zart.cli.json_output import json_of
from zart.cli.screen import NotWritten
from zart.cli.session import Session
from zart.errors import (
    BatchFinished,
    InternalError,
    NotPlanned,
    Refused,
    RuleNotActive,
    RuleReleasing,
    RunFailed,
    ScopeMatchesNothing,
    Unavailable,
    Unreachable,
)

_DONE = "it was done; this goes on from there, and does it no second time"
_MAYBE_DONE = "whether it happened is unknown; this tells, and does it at most once"
# Fields that commands fill in by what they show before they ask, and the options that do so.
_FOUND_OUT = {
    "expected_run_number": "--expect-run",
    "expected_attempt": "--expect-attempt",
    "plan_token": "--plan-token",
    "run_number": "--run",
    "attempt": "--attempt",
}
REFUSED = 1
USAGE = 2
UNKNOWN_OUTCOME = 3
RUN_FAILED = 4
# The first that an error is one of decides.
_CODES: dict[type[Exception], int] = {
    RunFailed: RUN_FAILED,
    NotPlanned: UNKNOWN_OUTCOME,
    Unreachable: UNKNOWN_OUTCOME,
    Unavailable: UNKNOWN_OUTCOME,
    TimeoutError: UNKNOWN_OUTCOME,
    NotWritten: UNKNOWN_OUTCOME,  # to who reads it; and of a change nobody saw the answer
    InternalError: UNKNOWN_OUTCOME,  # a defect, perhaps after what was asked for was done
    ScopeMatchesNothing: USAGE,
    Refused: REFUSED,
    ValueError: USAGE,  # what the client refuses to send
}


def code_of(error: Exception) -> int | None:
    """Return the exit code of what went wrong, None: nobody expected it."""
    return next((code for kind, code in _CODES.items() if isinstance(error, kind)), None)


def say(session: Session, error: Exception) -> None:
    """Print what went wrong, for people or for scripts."""
    if isinstance(error, NotPlanned):
        say_own(session, error.message, code_pb2.UNKNOWN)
    elif code_of(error) == UNKNOWN_OUTCOME:
        say_unknown(session, error)
    elif isinstance(error, Refused):
        say_refused(session, error.status)
    elif not isinstance(error, RunFailed):
        session.err.line(f"zart: {error}")
    elif not session.is_json:
        session.err.line(str(error))


def say_refused(session: Session, status: status_pb2.Status) -> None:
    """Print why the server refused a call."""
    if session.is_json:
        session.err.json(json_of(status))
        session.err.flush()
        return
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        _ = detail.Unpack(info) or detail.Unpack(bad)
    shown = session.parameters
    problems = [
        in_flags(violation.field, violation.description, shown)
        for violation in bad.field_violations
    ] or [_by_its_field(info, status.message, shown)]
    reason = f" [{info.reason}]" if info.reason else ""
    for problem in problems:
        session.err.line(f"zart: {problem}{reason}")
    _advise(session, info)


def _by_its_field(info: error_details_pb2.ErrorInfo, what: str, shown: Mapping[str, str]) -> str:
    """Write a message by its options: of the field that it begins with, or of what it names."""
    field = info.metadata.get("field", "")
    head, is_of_it, rest = what.partition(": ")
    if field and is_of_it and head == field:
        return in_flags(field, rest, shown)
    return words_in_flags(what, shown)


def _advise(session: Session, info: error_details_pb2.ErrorInfo) -> None:
    """Print what helps against a refusal, unless its message says all there is to say."""
    if info.reason == ScopeMatchesNothing.reason:
        session.err.line("nothing was paused; --future pauses what is not there yet")
    elif info.reason == RuleReleasing.reason:
        rule_id = info.metadata.get("rule_id", "RULE_ID")
        session.advise("this has it withhold all again", "stop-release", rule_id)
    elif info.reason == RuleNotActive.reason:
        rule_id = info.metadata.get("rule_id", "RULE_ID")
        session.advise("this tells who ended it, and when", "rules", rule_id)
    elif info.reason == BatchFinished.reason:
        batch_id = info.metadata.get("batch_id", "BATCH_ID")
        session.advise("this tells how it ended", "batch", "show", batch_id)


def say_unknown(session: Session, error: Exception) -> None:
    """Print that the outcome is unknown, and the command that finds it out."""
    why = str(error)
    if isinstance(error, Unreachable):
        from zart.cli.other_protocol import what_it_speaks  # noqa: PLC0415 - brings in all of TLS

        with contextlib.suppress(KeyboardInterrupt):  # who does not wait for it needs the rest
            if cause := what_it_speaks(address_of(session.address)):
                why = f"{cause} ({why})"
        if (asked := address_of(session.address)) not in why:
            why = f"{why}, at {asked}"
    if session.is_json:
        code = code_pb2.UNKNOWN if isinstance(error, NotWritten) else code_pb2.UNAVAILABLE
        say_refused(
            session,
            error.status
            if isinstance(error, Refused)
            else status_pb2.Status(code=code, message=why),
        )
    elif isinstance(error, Refused):
        say_refused(session, error.status)
    else:
        session.err.line(f"zart: {why}")
    if session.asked is None:
        what = "to try again"
    else:
        what = _DONE if session.is_answered else _MAYBE_DONE
    session.err.line(f"{what}{session.again}:")
    session.err.verbatim(command_to_repeat(session))


def say_stopped(session: Session) -> None:
    """Print what somebody stopped who waited for it: a change may be done by now."""
    if session.asked is None:
        session.err.line("stopped; nothing more was asked of the server")
        return
    what = _DONE if session.is_answered else _MAYBE_DONE
    session.err.line(f"stopped; {what}{session.again}:")
    session.err.verbatim(command_to_repeat(session))


def say_own(session: Session, why: str, code: int = code_pb2.FAILED_PRECONDITION) -> None:
    """Print what the command found out, and no server said: to scripts as a Status of a code."""
    if session.is_json:
        say_refused(session, status_pb2.Status(code=code, message=why))
    else:
        session.err.line(f"zart: {why}")


def command_to_repeat(session: Session) -> str:
    """Return the command line that asks the same again; a change is done once by all of them.

    It says what was sent, of which some may have been shown and found out only, and asks nobody.
    """
    if session.asked is None:
        return session.line.again([])
    found_out = [(option, _sent(session.asked, field)) for field, option in _FOUND_OUT.items()]
    mine = session.mutation
    more = [
        ("--request-id", mine.request_id),
        ("--triggered-by", mine.triggered_by),
        ("--incident", mine.incident),
        *found_out,
    ]
    # Who was asked has said yes.
    was_asked = session.is_interactive and not mine.yes
    return session.line.again(more, *(["--yes"] if was_asked else []))


def _sent(request: Message, field: str) -> str:
    """Return what a request has in a field; empty where it has none, or nothing in it."""
    found = request.DESCRIPTOR.fields_by_name.get(field)
    if found is None or (found.has_presence and not request.HasField(field)):
        return ""
    return str(getattr(request, field))
