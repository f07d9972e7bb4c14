"""``zart dispatch``: a dispatcher as a process."""

from __future__ import annotations

from typing import Annotated

import typer

from zart.cli.options import HealthListen, MetricsListen, example, reads, seconds_to_wait
from zart.cli.session import Session

app = typer.Typer()

_SHORTEST, _LONGEST = 1, 3600  # seconds of a lease, as zart.Dispatcher takes them


def _seconds_of_a_lease(seconds: float) -> float:
    """Refuse NaN, which is in any range to typer."""
    if not _SHORTEST <= seconds <= _LONGEST:
        raise typer.BadParameter(f"{seconds} is not {_SHORTEST} to {_LONGEST} seconds")
    return seconds


Targets = Annotated[list[str], typer.Argument(metavar="MODULE[:NAME]...")]
Concurrency = Annotated[
    int,
    typer.Option("--concurrency", min=1, envvar="ZART_CONCURRENCY", help="Handlers at once."),
]
Lease = Annotated[
    float,
    typer.Option(
        "--lease", min=_SHORTEST, max=_LONGEST, envvar="ZART_LEASE", callback=_seconds_of_a_lease,
        help="Seconds after which the steps of a dispatcher that has died are taken over.",
    ),
]  # fmt: skip
Grace = Annotated[
    float,
    typer.Option(
        "--grace", min=0, envvar="ZART_GRACE", callback=seconds_to_wait,
        help="Seconds that handlers have at the end.",
    ),
]  # fmt: skip
ResultsMib = Annotated[
    int,
    typer.Option(
        "--results-mib", min=4, envvar="ZART_RESULTS_MIB",
        help="MiB of results of other steps that an attempt may need; more is a failure for good.",
    ),
]  # fmt: skip


@app.command(epilog=example("dispatch tasks --concurrency 64"))
@reads
def dispatch(
    session: Session,
    targets: Targets,
    concurrency: Concurrency = 16,
    lease: Lease = 30.0,
    grace: Grace = 10.0,
    results_mib: ResultsMib = 256,
    health_listen: HealthListen = None,
    metrics_listen: MetricsListen = None,
    stream: Annotated[
        bool,
        typer.Option(
            "--stream/--no-stream",
            envvar="ZART_STREAM",
            help="Lease and report over one stream, where it passes; else by calls.",
        ),
    ] = True,
) -> None:
    """Run the steps of tasks; the current folder is on the import path."""
    from zart.cli.dispatching import dispatch_until_stopped  # noqa: PLC0415 - for this command only
    from zart.cli.event_loop import run_for_long  # noqa: PLC0415 - likewise
    from zart.dispatcher.health import CannotListen  # noqa: PLC0415 - likewise
    from zart.dispatcher.loading import LoadError, ModuleBroken, load_tasks  # noqa: PLC0415 - heavy
    from zart.logs import log_as_the_environment_says  # noqa: PLC0415 - likewise
    from zart.metrics.failures import MetricsError  # noqa: PLC0415 - likewise
    from zart.tracing import flushed, trace_as_the_environment_says  # noqa: PLC0415 - likewise

    log_as_the_environment_says(tracebacks=True)
    trace_as_the_environment_says("zart-dispatcher")
    try:
        tasks = load_tasks(targets)
    except LoadError as error:
        raise typer.BadParameter(str(error)) from None
    except ModuleBroken as error:
        session.err.verbatim(f"zart: {error}")
        raise typer.Exit(1) from None

    try:
        with flushed(is_process=session.is_process):
            run_for_long(
                dispatch_until_stopped(
                    tasks,
                    address=session.address,
                    concurrency=concurrency,
                    lease=lease,
                    grace=grace,
                    results_mib=results_mib,
                    health_listen=health_listen,
                    metrics_listen=metrics_listen,
                    stream=stream,
                    is_process=session.is_process,
                )
            )
    except (CannotListen, MetricsError) as error:
        session.err.line(f"zart: {error}")
        raise typer.Exit(1) from None
