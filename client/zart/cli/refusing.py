"""Ends a command that found out by itself that there is nothing to do."""

from __future__ import annotations

import contextlib
from typing import NoReturn

import typer

from zart.cli.screen import OutputLost
from zart.cli.session import Session


def refuse(session: Session, why: str) -> NoReturn:
    """Say why nothing is done, to people in a line, to scripts as a Status, and end with 1."""
    from zart.cli import problems  # noqa: PLC0415 - takes a while, and is seldom needed

    with contextlib.suppress(OutputLost):  # which does not change how it ends
        problems.say_own(session, why)
    raise typer.Exit(problems.REFUSED)
