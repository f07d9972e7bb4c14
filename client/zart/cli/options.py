"""The options that many commands share, added to them by decorators."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable
from typing import Annotated, Any, Literal

import typer

from zart.cli.completing import execution_ids, rule_ids
from zart.cli.filter_options import FILTER, TaskName
from zart.cli.given import options_with_value, read_once, refuse_empty, shown, typed
from zart.cli.session import Mutation, Plan, Session
from zart.listening import host_and_port


def _host_and_port(listen: str | None) -> str | None:
    """Refuse what cannot be listened on; empty is as not given."""
    if listen:
        try:
            host_and_port(listen)
        except ValueError as error:
            raise typer.BadParameter(f"{error}, such as 127.0.0.1:9464") from None
    return listen or None


def seconds_to_wait(seconds: float | None) -> float | None:
    """Refuse what no clock counts to: inf, NaN, and more than a life."""
    if seconds is not None and not seconds <= MOST:
        raise typer.BadParameter(f"{seconds} is no number of seconds up to {MOST}")
    return seconds


Address = Annotated[
    str | None,
    typer.Option(
        "--address", envvar="ZART_ADDRESS", help="Where the server is: HOST:PORT.",
        show_default="127.0.0.1:50051",
    ),
]  # fmt: skip
HealthListen = Annotated[
    str | None,
    typer.Option(
        "--health-listen", metavar="HOST:PORT", envvar="ZART_HEALTH_LISTEN",
        help="Where it tells its health, by gRPC's health service.", callback=_host_and_port,
    ),
]  # fmt: skip
MetricsListen = Annotated[
    str | None,
    typer.Option(
        "--metrics-listen", metavar="HOST:PORT", envvar="ZART_METRICS_LISTEN", show_envvar=True,
        help="Where Prometheus reads metrics; not set: nowhere.", callback=_host_and_port,
    ),
]  # fmt: skip
Output = Annotated[
    Literal["table", "json"] | None,
    typer.Option("--output", "-o", help="For people, or proto JSON for scripts.",
                 show_default="table"),
]  # fmt: skip
Timeout = Annotated[
    float | None,
    typer.Option(
        "--timeout", min=0.001, help="Seconds to wait for an answer.", callback=seconds_to_wait
    ),
]
TriggeredBy = Annotated[
    str,
    typer.Option(
        "--triggered-by", envvar="ZART_TRIGGERED_BY", help="Who asks.", show_default="user@host"
    ),
]
Reason = Annotated[str, typer.Option("--reason", help="Why, for the record.")]
Incident = Annotated[
    str,
    typer.Option(
        "--incident", envvar="ZART_INCIDENT", help="The incident it belongs to, for the record.",
        show_default=False,
    ),
]  # fmt: skip
RequestId = Annotated[
    str, typer.Option("--request-id", help="Makes a repeat safe.", show_default="a new one")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Plan only, and tell the line that does just that.")
]
PlanToken = Annotated[
    str,
    typer.Option(
        "--plan-token", help="Do what the plan of this token says, or nothing.", show_default=False
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def example(line: str) -> str:
    """Write the example that a command's help ends with."""
    return f"Example: zart {line}"


MOST = 2**31 - 1  # what a number of the protos holds
ExecutionId = Annotated[str, typer.Argument(metavar="EXECUTION_ID", autocompletion=execution_ids)]
RuleId = Annotated[
    str, typer.Argument(metavar="RULE_ID", help="Of a pause rule.", autocompletion=rule_ids)
]
ScopeExecution = Annotated[
    str | None,
    typer.Option("--execution-id", help="Of this execution.", autocompletion=execution_ids),
]
ScopeTask = Annotated[str | None, TaskName]
Lasting = Annotated[
    str | None, typer.Option("--for", metavar="2h", help="Ends by itself after this long.")
]
Limit = Annotated[int, typer.Option("--limit", min=0, help="At most so many; 0: all.")]

_COMMON: dict[str, tuple[Any, Any]] = {
    "address": (Address, None),
    "output": (Output, None),
    "timeout": (Timeout, None),
}
_MUTATION: dict[str, tuple[Any, Any]] = {
    "triggered_by": (TriggeredBy, ""),
    "reason": (Reason, ""),
    "incident": (Incident, ""),
    "request_id": (RequestId, ""),
    "yes": (Yes, False),
}


_PLAN: dict[str, tuple[Any, Any]] = {
    "dry_run": (DryRun, False),
    "plan_token": (PlanToken, ""),
}


def reads(command: Callable[..., None]) -> Callable[..., None]:
    """Make a command of a function that takes a Session first; adds the common options."""
    return _with_options(command, _COMMON)


def mutates(command: Callable[..., None]) -> Callable[..., None]:
    """Make a command that changes something; adds who, why, incident, request_id and --yes too."""
    return _with_options(command, {**_MUTATION, **_COMMON})


def plans(command: Callable[..., None]) -> Callable[..., None]:
    """Make a command that changes something, or plans it: adds --dry-run and --plan-token too."""
    return _with_options(command, {**_PLAN, **_MUTATION, **_COMMON})


def reads_filtered(command: Callable[..., None]) -> Callable[..., None]:
    """Make a command of a function that takes an ExecutionFilter, ``wanted``; adds its options."""
    return _with_options(command, {**FILTER, **_COMMON})


def plans_filtered(command: Callable[..., None]) -> Callable[..., None]:
    """Make a command that changes what a filter matches, or plans that."""
    return _with_options(command, {**FILTER, **_PLAN, **_MUTATION, **_COMMON})


def _with_options(
    command: Callable[..., None], added: dict[str, tuple[Any, Any]]
) -> Callable[..., None]:
    hints = typing.get_type_hints(command, include_extras=True)
    signature = inspect.signature(command)
    own = [p for p in list(signature.parameters.values())[1:] if p.name != "wanted"]
    # Who asks, why, and where: as not given. What a step is failed with, the server judges.
    may_be_empty = {"message", *added} - FILTER.keys() - _PLAN.keys()

    @functools.wraps(command)
    def wrapped(ctx: typer.Context, **given: Any) -> None:  # noqa: ANN401 - typer checked them
        session: Session = ctx.obj
        refuse_empty(ctx, given, may_be_empty)
        session.parameters = {
            parameter.name: shown(parameter) for parameter in ctx.command.params if parameter.name
        }
        session.line.valued = options_with_value(ctx)
        session.again = read_once(given)
        session.line.address = typed(ctx, "address") or ""
        for name in _COMMON:
            given.pop(name)  # what the environment says the session has by now
            if (value := typed(ctx, name)) is not None:
                setattr(session, name, value)
        if "request_id" in added:
            session.mutate(Mutation(**{name: given.pop(name) for name in _MUTATION}))
        if "dry_run" in added:
            session.plan = Plan(**{name: given.pop(name) for name in _PLAN})
        if "error_group" in added:
            from zart.cli.filtering import ages_of, filter_of  # noqa: PLC0415 - with the protos only

            options = {name: given.pop(name) for name in FILTER}
            given["wanted"] = filter_of(options)
            session.line.ages = ages_of(options, given["wanted"])
        command(session, **given)

    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context),
        *(p.replace(kind=keyword, annotation=hints[p.name]) for p in own),
        *(
            inspect.Parameter(name, keyword, default=default, annotation=kind)
            for name, (kind, default) in added.items()
        ),
    ]
    # What inspect, and so typer, reads first.
    wrapped.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # of no function, says typeshed
    wrapped.__annotations__ = {p.name: p.annotation for p in parameters}
    del wrapped.__wrapped__
    return wrapped
