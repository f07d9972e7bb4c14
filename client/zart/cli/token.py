"""The command that makes static tokens; the server is told their hashes only."""

from __future__ import annotations

import enum
import hashlib
import json
import secrets
from pathlib import Path
from typing import Annotated

import typer

from zart.cli.options import example
from zart.cli.session import Session

app = typer.Typer()
_BYTES = 32  # 256 bits: nothing to guess
_PREFIX = "zart_"  # so that scanners for leaked secrets can tell


class _Role(enum.StrEnum):
    VIEWER = "viewer"
    OPERATOR = "operator"
    STARTER = "starter"
    DISPATCHER = "dispatcher"
    ADMIN = "admin"


@app.command(epilog=example("token payments --role dispatcher --task order --add-to tokens"))
def token(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Goes on record as principal.")],
    role: Annotated[list[_Role], typer.Option("--role", help="May be given more than once.")],
    task: Annotated[
        list[str] | None,
        typer.Option("--task", help="Of a dispatcher: the only tasks, each with a --task."),
    ] = None,
    add_to: Annotated[
        Path | None,
        typer.Option("--add-to", metavar="FILE", help="Add the line to the file of tokens."),
    ] = None,
) -> None:
    """Make a token: prints it, and the line for the server's file of tokens.

    The token is for ZART_TOKEN and is told this once; the line is for ZART_AUTH_TOKENS and holds
    its hash. With --add-to only the token is printed.
    """
    session: Session = ctx.obj
    if not name.strip() or not name.isprintable() or len(name) > 255:  # noqa: PLR2004 - as the server
        raise typer.BadParameter("NAME is empty, too long or has control characters")
    made = _PREFIX + secrets.token_urlsafe(_BYTES)
    grant: dict[str, object] = {"name": name, "roles": sorted(set(role))}
    if task:
        grant["tasks"] = sorted(set(task))
    grant["sha256"] = hashlib.sha256(made.encode()).hexdigest()
    line = json.dumps(grant, ensure_ascii=False)
    if add_to is None:
        session.out.verbatim(made)
        session.out.json(line)
        return
    try:
        _append(add_to, line)
    except OSError as error:
        raise typer.BadParameter(f"{add_to}: {error.strerror}") from None
    session.out.verbatim(made)


def _append(path: Path, line: str) -> None:
    """Add a line to a file; a new file is for its owner's eyes only."""
    path.touch(mode=0o600)
    text = path.read_text(encoding="utf-8")
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n" if not text or text.endswith("\n") else f"\n{line}\n")
