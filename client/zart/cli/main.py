"""Puts the command together and turns what went wrong into messages and exit codes."""

from __future__ import annotations

import contextlib
import functools
import io
import sys
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer

from zart.cli.commands import Commands
from zart.cli.given import refuse_unused
from zart.cli.options import Address, Output, Timeout, example
from zart.cli.screen import OutputLost, ReaderLeft, open_what_is_closed
from zart.cli.session import ChannelFactory, Session
from zart.cli.typed_line import TypedLine
from zart.version import installed_version

OK = 0
USAGE = 2
_INTERRUPTED = 130
_READER_LEFT = 141  # as a shell tells of who was ended by SIGPIPE
# Around what is told of a failure: its exit code stays, also where nobody reads on.
_TOLD = contextlib.suppress(OutputLost)
# Click's UsageError: newer typers have a click of their own and do not say its name.
_UsageError: type[typer.BadParameter] = typer.BadParameter.__mro__[1]

app = typer.Typer(
    name="zart",
    cls=Commands,
    help="Start, dispatch and operate durable executions.",
    epilog=example("list --status failed"),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(ctx: typer.Context, wanted: bool) -> None:  # noqa: FBT001 - typer's way
    if wanted:
        session: Session = ctx.obj
        session.print(f"zart {installed_version()}")
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version."),
]


@app.callback()
def _options(
    ctx: typer.Context,
    address: Address = None,
    output: Output = None,
    timeout: Timeout = None,
    show_version: Version = False,  # noqa: ARG001 - its callback ends the command
) -> None:
    refuse_unused(ctx)
    session: Session = ctx.obj
    session.address = address
    session.output = output or "table"
    session.timeout = timeout


@functools.cache
def _command() -> Any:  # noqa: ANN401 - click's, whichever typer has
    return typer.main.get_command(app)


def main(argv: Sequence[str] | None = None, channel_factory: ChannelFactory | None = None) -> int:
    """Run the command and return its exit code."""
    open_what_is_closed()
    arguments = list(sys.argv[1:] if argv is None else argv)
    session = Session(TypedLine(arguments), channel_factory, is_process=argv is None)
    try:
        try:
            return _run(session, arguments)
        except KeyboardInterrupt:  # met as something else was told
            return _stopped(session)
    finally:
        with contextlib.suppress(KeyboardInterrupt):  # all is done, and told
            session.close()


def _run(session: Session, arguments: list[str]) -> int:
    """Run the command, tell what went wrong, and return the exit code."""
    try:
        with _help_on(session):
            result = _command().main(
                arguments, prog_name="zart", standalone_mode=False, obj=session
            )
    except _UsageError as error:
        usage = io.StringIO()
        error.show(usage)
        with _TOLD:
            session.err.verbatim(usage.getvalue().rstrip("\n"))
        return USAGE
    except ReaderLeft:
        return _READER_LEFT
    except (typer.Abort, KeyboardInterrupt):
        return _stopped(session)
    except Exception as error:
        from zart.cli import problems  # noqa: PLC0415 - takes a while, and seldom is there need

        code = problems.code_of(error)
        if code is None:
            raise
        with _TOLD:
            problems.say(session, error)
        return code
    if result == _INTERRUPTED:  # typer has taken the KeyboardInterrupt
        return session.interrupts.code if session.asked is None else _stopped(session)
    code = result if isinstance(result, int) else OK
    if code == OK:
        session.end_well()
    return code


@contextlib.contextmanager
def _help_on(session: Session) -> Iterator[None]:
    """Have help printed as all else is: click ends with 1 or a traceback where nobody reads it."""
    if "--help" not in session.line.argv:
        yield
        return
    held = io.StringIO()
    with contextlib.redirect_stdout(held):
        yield
    if held.getvalue():
        session.out.verbatim(held.getvalue().removesuffix("\n"))


def _stopped(session: Session) -> int:
    from zart.cli import problems  # noqa: PLC0415 - takes a while, and seldom is there need

    with _TOLD:
        problems.say_stopped(session)
    return session.interrupts.code
