"""The commands of breakers: pause rules that make themselves."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any

import typer

from zart.calls import breaker as calls
from zart.calls.payload import UNSET
from zart.cli.completing import breaker_ids
from zart.cli.filter_options import TaskName
from zart.cli.options import Limit, example, mutates, reads
from zart.cli.render import error_line, when
from zart.cli.session import Session
from zart.cli.tables import NAMES, TEXT, Column
from zart.cli.values import span_of, written_rate
from zart.models import Breaker, BreakerStatus, ChangedBreaker, DeletedBreaker

app = typer.Typer()
breaker = typer.Typer(
    help="Pause steps by themselves when too many of their attempts end badly.",
    epilog=example("breaker list"),
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(breaker, name="breaker")

BreakerId = Annotated[str, typer.Argument(metavar="BREAKER_ID", autocompletion=breaker_ids)]
Task = Annotated[str | None, TaskName]
Step = Annotated[str | None, typer.Option("--step", help="Step names: a glob, 'send-*'.")]
_THRESHOLD = typer.Option(
    "--failure-threshold", min=1, max=10_000, help="How many attempts that ended badly open it."
)
_WINDOW = typer.Option("--window", metavar="1m", help="Within how long.")
Ratio = Annotated[
    float | None,
    typer.Option("--min-failure-ratio", min=0, max=1, help="And what part of all that ended."),
]
Group = Annotated[
    str | None, typer.Option("--error-group", metavar="eg-…", help="With such an error only.")
]
Cooldown = Annotated[
    str | None,
    typer.Option("--cooldown", metavar="30s", help="Then a few steps try; default: never."),
]
Probes = Annotated[
    int | None, typer.Option("--probe-steps", min=1, max=10_000, help="How many try.")
]
Rate = Annotated[
    str | None, typer.Option("--rate", metavar="40/s", help="How fast the rest goes at its end.")
]

_SHOWN = (
    Column("BREAKER"),
    Column("COUNTS", words=NAMES),
    Column("STATUS"),
    Column("OPENS AT", rank=1),
    Column("NOW", rank=2),
    Column("RULE", rank=3),
    Column("TRIPS", rank=5),
    Column("OPENED", rank=4),
    Column("LAST ERROR", rank=6, words=TEXT),
    Column("BY", rank=7),
    Column("REASON", rank=8, words=TEXT),
)


def _row(b: Breaker) -> Sequence[str]:
    is_closed = b.status is BreakerStatus.CLOSED
    return (
        b.breaker_id,
        _scope(b),
        b.status,
        _opens_at(b),
        str(b.failures_in_window) if is_closed else "",
        "" if is_closed else b.rule_id,
        str(b.trip_count),
        when(b.opened_at),
        error_line(b.last_error),
        b.created_by,
        b.reason,
    )


def _scope(b: Breaker) -> str:
    parts = (("task", b.task_name), ("step", b.step_pattern), ("error", b.error_group_id))
    return " ".join(f"{name}={value}" for name, value in parts if value is not None)


def _opens_at(b: Breaker) -> str:
    ratio = f", {b.min_failure_ratio:.0%}" if b.min_failure_ratio else ""
    return f"{b.failure_threshold} in {_span(b.window)}{ratio}"


def _span(span: timedelta | None) -> str:
    return "" if span is None else f"{span.total_seconds():g}s"


def _lines(b: Breaker) -> list[str]:
    """Tell all of a breaker."""
    told = [
        ("counts", _scope(b)),
        ("opens at", f"{_opens_at(b)}; now {b.failures_in_window}"),
        ("cooldown", _span(b.cooldown) or "none: it stays open until it is reset"),
        ("probes", str(b.probe_steps)),
        ("then", f"{written_rate(b.rate_per_second)}/s" if b.rate_per_second else "all at once"),
        ("rule", b.rule_id),
        ("opened", when(b.opened_at)),
        ("cools until", when(b.cooldown_ends_at)),
        ("half open", when(b.half_open_at)),
        ("trips", str(b.trip_count)),
        ("last error", error_line(b.last_error)),
        ("by", b.created_by),
        ("identity", b.principal),
        ("reason", b.reason),
        ("incident", b.incident),
    ]
    lines = [f"{name:<11} {value}" for name, value in told if value]
    return [f"{b.breaker_id} is {b.status}", *lines]


def _rate_of(text: str | None) -> float | None:
    """Read a rate such as ``40/s``."""
    if text is None:
        return None
    try:
        return float(text.removesuffix("/s"))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no rate such as 40/s", param_hint="--rate") from None


def _settings(given: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that are given, as calls take them."""
    named = {
        "task_name": given["task_name"],
        "step_pattern": given["step"],
        "failure_threshold": given["failure_threshold"],
        "window": span_of(given["window"], "--window"),
        "min_failure_ratio": given["min_failure_ratio"],
        "error_group_id": given["error_group"],
        "cooldown": span_of(given["cooldown"], "--cooldown"),
        "probe_steps": given["probe_steps"],
        "rate_per_second": _rate_of(given["rate"]),
    }
    return {name: value for name, value in named.items() if value is not None}


def _changed(session: Session) -> Any:  # noqa: ANN401 - shows an answer
    def show(answer: ChangedBreaker) -> None:
        session.print(*_lines(answer.breaker))

    return show


@breaker.command(
    epilog=example(
        "breaker create --task-name order --step 'charge-*' --failure-threshold 20 --window 1m"
    )
)
@mutates
def create(
    session: Session,
    failure_threshold: Annotated[
        int,
        typer.Option("--failure-threshold", min=1, max=10_000, help="Opens at so many bad ends."),
    ],
    window: Annotated[str, _WINDOW],
    task_name: Task = None,
    step: Step = None,
    min_failure_ratio: Ratio = None,
    error_group: Group = None,
    cooldown: Cooldown = None,
    probe_steps: Probes = None,
    rate: Rate = None,
) -> None:
    """Make a breaker of a task, of step names, or of both."""
    if task_name is None and step is None:
        raise typer.BadParameter("say what it counts: --task-name, --step, or both")
    settings = _settings(locals())
    session.run(calls.create_breaker(**settings, **session.mutation.fields), _changed(session))


@breaker.command("list", epilog=example("breaker list"))
@reads
def list_(session: Session, limit: Limit = 0) -> None:
    """List breakers, newest first."""
    session.run_list(calls.list_breakers(), limit, _SHOWN, _row)


@breaker.command(epilog=example("breaker show br-7k2m9x4q"))
@reads
def show(session: Session, breaker_id: BreakerId) -> None:
    """Tell all of a breaker."""
    session.run(calls.get_breaker(breaker_id), lambda found: session.print(*_lines(found)))


@breaker.command(epilog=example("breaker update br-7k2m9x4q --failure-threshold 50"))
@mutates
def update(
    session: Session,
    breaker_id: BreakerId,
    task_name: Task = None,
    step: Step = None,
    failure_threshold: Annotated[int | None, _THRESHOLD] = None,
    window: Annotated[str | None, _WINDOW] = None,
    min_failure_ratio: Ratio = None,
    error_group: Group = None,
    cooldown: Cooldown = None,
    probe_steps: Probes = None,
    rate: Rate = None,
    unset: Annotated[
        list[str] | None,
        typer.Option("--unset", metavar="OPTION", help="An option to do without: cooldown, rate."),
    ] = None,
) -> None:
    """Change what a breaker counts and does; its state stays."""
    settings = _settings(locals())
    optional = {
        "task-name": "task_name",
        "step": "step_pattern",
        "error-group": "error_group_id",
        "cooldown": "cooldown",
        "rate": "rate_per_second",
    }
    for name in unset or ():
        if name.lstrip("-") not in optional:
            raise typer.BadParameter(", ".join(optional), param_hint="--unset")
        if settings.setdefault(optional[name.lstrip("-")], UNSET) is not UNSET:
            raise typer.BadParameter(f"{name} is given, too", param_hint="--unset")
    if not settings:
        raise typer.BadParameter("say what to change, such as --failure-threshold 50")
    changed: dict[str, Any] = {
        name: None if value is UNSET else value for name, value in settings.items()
    }
    call = calls.update_breaker(breaker_id, **changed, **session.mutation.fields)
    session.run(call, _changed(session))


@breaker.command(epilog=example("breaker delete br-7k2m9x4q"))
@mutates
def delete(session: Session, breaker_id: BreakerId) -> None:
    """Delete a breaker; its rule stays, unless that has ended."""

    def told(answer: DeletedBreaker) -> None:
        session.print(f"deleted {answer.breaker.breaker_id}")
        if answer.left_rule_id:
            session.print(f"{answer.left_rule_id} stays; this ends it:")
            session.out.verbatim(session.line.hint("resume", "--rule-id", answer.left_rule_id))

    session.run(calls.delete_breaker(breaker_id, **session.mutation.fields), told)


@breaker.command(epilog=example("breaker trip br-7k2m9x4q --reason 'card service is down'"))
@mutates
def trip(session: Session, breaker_id: BreakerId) -> None:
    """Open a breaker by hand."""
    session.run(calls.trip_breaker(breaker_id, **session.mutation.fields), _changed(session))


@breaker.command(epilog=example("breaker reset br-7k2m9x4q --reason 'card service is back'"))
@mutates
def reset(session: Session, breaker_id: BreakerId) -> None:
    """Close a breaker by hand; its rule ends."""
    session.run(calls.reset_breaker(breaker_id, **session.mutation.fields), _changed(session))
