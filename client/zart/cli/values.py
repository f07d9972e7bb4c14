"""How values are written on the command line."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import typer

from zart.calls.payload import UNSET, JsonText, Unset

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_SPAN = re.compile(r"(?:\d+(?:\.\d+)?[smhd])+")
_LONGEST = timedelta(days=365_000)  # a Duration holds ten times that; nobody means it
_TIMES = "2026-01-31, 2026-01-31T14:00Z or 2026-01-31T14:00:00+02:00"
# Names may have what stands between them, or behind them: a backslash before it says so.
_NAMES = re.compile(r"(?:\\[\\,=]|[^,])++")
_INPUT = re.compile(r"((?:\\[\\,=]|[^=])++)=(.*)", re.DOTALL)
_MEANT = re.compile(r"\\([\\,=])")
_TO_MEAN = re.compile(r"\\(?=[\\,=]|$)|,")
_TOO_FINE = re.compile(r"\.\d{6}\d*[1-9]")  # datetime would cut it


def counted(number: int, name: str, more: str = "") -> str:
    """Write how many there are: ``1 step``, ``2 steps``, ``9 or more steps``."""
    return f"{number}{more} {name}" if number == 1 and not more else f"{number}{more} {name}s"


def json_value(text: str | None, option: str = "--payload") -> JsonText | Unset:
    """Read ``JSON``, ``@FILE`` or ``-`` (standard input), to be sent as it is; None is UNSET."""
    if text is None:
        return UNSET
    try:
        if text == "-":
            text = sys.stdin.buffer.read().decode("utf-8")  # as JSON is, whatever the terminal
        elif text.startswith("@"):
            text = Path(text[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        where = text[1:] or "standard input"
        raise typer.BadParameter(f"{where}: {error}", param_hint=option) from None
    try:
        return JsonText(text.strip("\ufeff \t\r\n"))
    except (ValueError, RecursionError) as error:
        raise typer.BadParameter(f"not JSON: {error}", param_hint=option) from None


def inputs_of(texts: list[str] | None, option: str) -> dict[str, JsonText]:
    """Read inputs of steps given as ``STEP=JSON``, ``STEP=@FILE`` or ``STEP=-``.

    In a name a backslash stands before each equals sign.
    """
    found: dict[str, JsonText] = {}
    for text in texts or ():
        given = _INPUT.fullmatch(text)
        if given is None:
            raise typer.BadParameter(f"{text!r} is not STEP=JSON", param_hint=option)
        name, value = _MEANT.sub(r"\1", given[1]), given[2]
        if name in found:
            raise typer.BadParameter(f"{name!r} is given two inputs", param_hint=option)
        parsed = json_value(value, option)
        if isinstance(parsed, JsonText):
            found[name] = parsed
    return found


def span_of(text: str | None, option: str) -> timedelta | None:
    """Read a span such as ``90s``, ``15m``, ``2h``, ``1d`` or ``1h30m``."""
    if text is None:
        return None
    if not _SPAN.fullmatch(text):
        raise typer.BadParameter(
            f"{text!r} is no span such as 90s, 15m, 2h or 1d", param_hint=option
        )
    parts = re.findall(r"([\d.]+)([smhd])", text)
    try:
        found = sum((timedelta(**{_UNITS[unit]: float(n)}) for n, unit in parts), timedelta())
    except OverflowError:
        found = timedelta.max
    if found > _LONGEST:
        raise typer.BadParameter(f"{text!r} is too long", param_hint=option)
    return found


def is_age(text: str) -> bool:
    """Return whether a time is given as an age."""
    return _SPAN.fullmatch(text) is not None


def time_of(text: str | None, option: str, now: datetime | None = None) -> datetime | None:
    """Read a time: a date, one with the time of the day (UTC unless it says), or an age: ``2h``.

    Ages that are compared are to be of one moment, ``now``.
    """
    if text is None:
        return None
    if is_age(text):
        try:
            return (now or datetime.now(UTC)) - (span_of(text, option) or timedelta())
        except OverflowError:
            raise typer.BadParameter(f"{text!r} is too long ago", param_hint=option) from None
    return _time(text, option, f"neither a time such as {_TIMES}, nor an age such as 2h")


def refuse_no_time(after: tuple[str, datetime | None], before: tuple[str, datetime | None]) -> None:
    """Refuse options, each with its time, that have nothing between them. Raises BadParameter.

    So are ages in their wrong order: an empty table would look as if there were nothing.
    """
    (first, since), (last, until) = after, before
    if since is not None and until is not None and since >= until:
        raise typer.BadParameter(
            f"{since.isoformat(sep=' ')} is not before {last}, {until.isoformat(sep=' ')}: nothing"
            " is in between",
            param_hint=first,
        )


def time_to_come(text: str | None, option: str) -> datetime | None:
    """Read a time as ``time_of`` does, but for an age: that is of the past."""
    return None if text is None else _time(text, option, f"no time such as {_TIMES}")


def _time(text: str, option: str, otherwise: str) -> datetime:
    """Read a date, or one with the time of the day; ``otherwise`` says what it is if it is none."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is {otherwise}", param_hint=option) from None
    if _TOO_FINE.search(text):
        raise typer.BadParameter(f"{text!r} is finer than a microsecond", param_hint=option)
    found = found.replace(tzinfo=UTC) if found.tzinfo is None else found
    try:
        return found.astimezone(UTC)
    except OverflowError:
        raise typer.BadParameter(
            f"{text!r} is not within the years 1 to 9999 in UTC", param_hint=option
        ) from None


def names_of(texts: list[str] | None, option: str) -> list[str]:
    """Read names given as ``a,b`` or by repeating the option; each time at least one.

    In a name a backslash stands before each comma.
    """
    found = []
    for text in texts or ():
        names = [name.strip() for name in _NAMES.findall(text) if name.strip()]
        if not names:  # without any it would be as not given: about all there is
            raise typer.BadParameter(f"{text!r} names nothing", param_hint=option)
        found += [_MEANT.sub(r"\1", name) for name in names]
    return found


def written_names(names: Iterable[str]) -> str:
    """Write names as ``names_of`` reads them."""
    return ",".join(_TO_MEAN.sub(r"\\\g<0>", name) for name in names)


def rate_of(text: str | None, option: str) -> float | None:
    """Read a number of steps a second, as ``40/s`` or ``40``."""
    if text is None:
        return None
    try:
        rate = float(text.removesuffix("/s"))
    except ValueError:
        rate = 0.0
    if not 0 < rate < float("inf"):
        raise typer.BadParameter(f"{text!r} is no rate as 40/s or 0.5/s", param_hint=option)
    return rate


def written_rate(rate: float) -> str:
    """Write a number of steps a second as ``rate_of`` reads it, just that one."""
    return repr(float(rate)).removesuffix(".0")
