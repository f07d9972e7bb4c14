"""How values are written on the command line."""

from __future__ import annotations

import json
import re
import sys
from datetime import timedelta
from pathlib import Path

import typer

from zart.calls.payload import UNSET, Unset
from zart.models import Json

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_SPAN = re.compile(r"(?:\d+(?:\.\d+)?[smhd])+")


def json_value(text: str | None) -> Json | Unset:
    """Read ``JSON``, ``@FILE`` or ``-`` (standard input); None is UNSET."""
    if text is None:
        return UNSET
    if text == "-":
        text = sys.stdin.read()
    elif text.startswith("@"):
        try:
            text = Path(text[1:]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise typer.BadParameter(f"{text[1:]}: {error}", param_hint="--payload") from None
    try:
        return json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"not JSON: {error}", param_hint="--payload") from None


def span_of(text: str | None) -> timedelta | None:
    """Read a span such as ``90s``, ``15m``, ``2h``, ``1d`` or ``1h30m``."""
    if text is None:
        return None
    if not _SPAN.fullmatch(text):
        raise typer.BadParameter(f"{text!r} is no span such as 90s, 15m, 2h or 1d")
    parts = re.findall(r"([\d.]+)([smhd])", text)
    return sum((timedelta(**{_UNITS[unit]: float(n)}) for n, unit in parts), timedelta())


def names_of(texts: list[str] | None) -> list[str]:
    """Read names given as ``a,b`` or by repeating the option."""
    return [name.strip() for text in texts or () for name in text.split(",") if name.strip()]
