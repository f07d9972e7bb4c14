"""``zart gateway``: HTTP/JSON for a server."""

from __future__ import annotations

import asyncio
import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from zart.cli.given import typed
from zart.cli.options import Address, MetricsListen, example, seconds_to_wait
from zart.cli.session import Session
from zart.credentials import Credentials
from zart.gateway.settings import DEFAULT_LISTEN, GatewayError, Settings

app = typer.Typer()


def is_installed() -> bool:
    """Return whether the libraries of the gateway are there."""
    names = ("starlette", "uvicorn")
    return all(importlib.util.find_spec(name) is not None for name in names)


def _refuse_blanks(files: Mapping[str, Path | None]) -> None:
    """Raise BadParameter where the variable of a file of TLS is blank.

    The command takes that for not given: it would speak no TLS, or ask nobody for a certificate.
    """
    for name, file in files.items():
        if file is None and name in os.environ:
            raise typer.BadParameter(f"{name} is blank: name a file; unset it to do without")


@app.command(epilog=example("gateway --listen 127.0.0.1:8080 --address 127.0.0.1:50051"))
def gateway(
    ctx: typer.Context,
    listen: Annotated[
        str,
        typer.Option(
            "--listen", metavar="HOST:PORT", envvar="ZART_GATEWAY_LISTEN", help="Where it listens."
        ),
    ] = DEFAULT_LISTEN,
    address: Address = None,
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout",
            min=0.001,
            envvar="ZART_GATEWAY_TIMEOUT",
            help="Seconds that a call may take, watches excepted.",
            callback=seconds_to_wait,
        ),
    ] = 30.0,
    max_calls: Annotated[
        int,
        typer.Option("--max-calls", min=1, envvar="ZART_GATEWAY_MAX_CALLS", help="Calls at once."),
    ] = 512,
    hosts: Annotated[
        str,
        typer.Option(
            "--hosts",
            metavar="HOST,HOST",
            envvar="ZART_GATEWAY_HOSTS",
            help="Names by which it may be called, besides those of loopback; * for any.",
        ),
    ] = "",
    tls_cert: Annotated[
        Path | None,
        typer.Option(
            "--tls-cert",
            metavar="FILE",
            envvar="ZART_TLS_CERT",
            help="The chain, in PEM: it speaks https.",
        ),
    ] = None,
    tls_key: Annotated[
        Path | None,
        typer.Option("--tls-key", metavar="FILE", envvar="ZART_TLS_KEY", help="Its key, in PEM."),
    ] = None,
    tls_client_ca: Annotated[
        Path | None,
        typer.Option(
            "--tls-client-ca",
            metavar="FILE",
            envvar="ZART_TLS_CLIENT_CA",
            help="Ask callers for certificates that these authorities signed.",
        ),
    ] = None,
    metrics_listen: MetricsListen = None,
) -> int:
    """Serve HTTP/JSON for a server."""
    session: Session = ctx.obj
    if not is_installed():
        raise typer.BadParameter(
            "the gateway is not installed: pip install 'zart-control[gateway]'"
        )
    _refuse_blanks({
        "ZART_TLS_CERT": tls_cert, "ZART_TLS_KEY": tls_key, "ZART_TLS_CLIENT_CA": tls_client_ca
    })  # fmt: skip
    from zart.gateway.server import serve  # noqa: PLC0415 - for this command only
    from zart.logs import log_as_the_environment_says  # noqa: PLC0415 - likewise
    from zart.tracing import flushed, trace_as_the_environment_says  # noqa: PLC0415 - likewise

    log_as_the_environment_says()
    trace_as_the_environment_says("zart-gateway")
    try:
        credentials = Credentials.without_token()
        settings = Settings(
            listen=listen,
            address=typed(ctx, "address") or address or session.address,
            timeout=typed(ctx, "timeout") or timeout,
            max_calls=max_calls,
            hosts=[name.strip() for name in hosts.split(",") if name.strip()],
            tls_cert=tls_cert,
            tls_key=tls_key,
            tls_client_ca=tls_client_ca,
            credentials=credentials,
            insecure=credentials.insecure,
            metrics_listen=metrics_listen,
        )
        with flushed(is_process=session.is_process):
            asyncio.run(serve(settings))
    except GatewayError as error:
        session.err.line(f"zart: {error}")
        return 1
    return 0
