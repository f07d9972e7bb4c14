"""Puts the command together and turns what went wrong into messages and exit codes."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer
from google.protobuf import json_format
from google.rpc import code_pb2, error_details_pb2, status_pb2

from zart.channel import sync_channel
from zart.cli import admin, executions, gateway, processes, token
from zart.cli.options import Address, Output, Timeout
from zart.cli.session import ChannelFactory, Session
from zart.errors import Refused, RunFailed, Unavailable, Unreachable

OK = 0
REFUSED = 1
USAGE = 2
UNKNOWN_OUTCOME = 3
RUN_FAILED = 4
_INTERRUPTED = 130
# Click's UsageError: newer typers have a click of their own and do not say its name.
_UsageError: type[typer.BadParameter] = typer.BadParameter.__mro__[1]

app = typer.Typer(
    name="zart",
    help="Start, dispatch and operate durable executions.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for part in (executions.app, admin.app, processes.app, gateway.app, token.app):
    app.add_typer(part)


@app.callback()
def _options(
    ctx: typer.Context, address: Address = None, output: Output = None, timeout: Timeout = None
) -> None:
    session: Session = ctx.obj
    session.address = address
    session.output = output or "table"
    session.timeout = timeout


def main(  # noqa: PLR0911 - one return for each way to end
    argv: Sequence[str] | None = None, channel_factory: ChannelFactory = sync_channel
) -> int:
    """Run the command and give its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    session = Session(argv=arguments, channel_factory=channel_factory)
    command = typer.main.get_command(app)
    try:
        result = command.main(arguments, prog_name="zart", standalone_mode=False, obj=session)
    except _UsageError as error:
        error.show()
        return USAGE
    except (typer.Abort, KeyboardInterrupt):
        session.err.print("stopped; nothing more was asked of the server", markup=False)
        return _INTERRUPTED
    except RunFailed as error:
        if not session.is_json:
            _say(session, str(error))
        return RUN_FAILED
    except (Unreachable, Unavailable, TimeoutError) as error:
        return _unknown(session, error)
    except Refused as error:
        _say_status(session, error.status)
        return REFUSED
    except ValueError as error:  # what the client refuses to send
        _say(session, str(error))
        return USAGE
    finally:
        session.close()
    return result if isinstance(result, int) else OK


def _unknown(session: Session, error: Exception) -> int:
    """Say that nobody knows whether it happened, and how to find out."""
    if session.is_json:
        status = (
            error.status
            if isinstance(error, Refused)
            else status_pb2.Status(code=code_pb2.UNAVAILABLE, message=str(error))
        )
        _say_status(session, status)
    else:
        _say(session, str(error))
    if session.mutation.request_id:
        _say(session, "whether it happened is unknown; this tells, and does it at most once:")
    else:
        _say(session, "to try again:")
    _say(session, session.command_to_repeat())
    return UNKNOWN_OUTCOME


def _say_status(session: Session, status: status_pb2.Status) -> None:
    if session.is_json:
        _say(session, json_format.MessageToJson(status, indent=2, ensure_ascii=False))
        return
    info = error_details_pb2.ErrorInfo()
    reasons = [info.reason for detail in status.details if detail.Unpack(info)]
    _say(session, f"zart: {status.message}" + (f" [{reasons[0]}]" if reasons else ""))


def _say(session: Session, text: str) -> None:
    session.err.print(text, markup=False)
