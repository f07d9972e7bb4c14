"""``zart health``: whether a server, a gateway or a dispatcher can serve, as a probe asks it."""

from __future__ import annotations

import enum
import os
from typing import Annotated

import typer

from zart.cli.given import typed
from zart.cli.options import Output, example, seconds_to_wait
from zart.cli.session import Session
from zart.gateway.settings import DEFAULT_LISTEN

app = typer.Typer()
NOT_SERVING = 1
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - what it is called by


class _Process(enum.StrEnum):
    SERVER = "server"
    GATEWAY = "gateway"
    DISPATCHER = "dispatcher"


@app.command(epilog=example("health gateway --address 127.0.0.1:8080"))
def health(
    ctx: typer.Context,
    process: Annotated[
        _Process, typer.Argument(metavar="[server|gateway|dispatcher]", help="Which it is.")
    ] = _Process.SERVER,
    address: Annotated[  # noqa: ARG001 - read where it was typed, perhaps before the command
        str | None,
        typer.Option(
            "--address",
            help="HOST:PORT where it listens; without it, where the environment says.",
        ),
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Ask only whether it is up, not whether it can serve.")
    ] = False,
    server_name: Annotated[
        str | None,
        typer.Option("--server-name", help="The name in its certificate, if not the address's."),
    ] = None,
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout", min=0.001, help="Seconds to wait for an answer.", callback=seconds_to_wait
        ),
    ] = 3.0,
    output: Output = None,
) -> int:
    """Tell whether a process can serve: exit 0 if so, else 1.

    A server can if its database answers; a gateway, if its server can; a dispatcher, if its tasks
    are registered and the server answers. TLS as for any other call: ZART_TLS_CA. With --live a
    server or gateway is up, too, that answers by TLS where only certificates are in the way. No
    token is shown. Without --address a server is asked at ZART_ADDRESS or ZART_LISTEN, a gateway at
    ZART_GATEWAY_LISTEN, a dispatcher at ZART_HEALTH_LISTEN.
    """
    from zart.credentials import Credentials  # noqa: PLC0415 - gRPC takes a while
    from zart.health import NotServing, Probe  # noqa: PLC0415 - so it does

    session: Session = ctx.obj
    session.output = output or session.output
    at = typed(ctx, "address") or _from_environment(process, session)
    seconds = typed(ctx, "timeout") or timeout
    probe = Probe(Credentials.without_token(), server_name, seconds)
    try:
        match process:
            case _Process.SERVER if live:
                probe.live_over_grpc(at)
            case _Process.SERVER:
                probe.over_grpc(at, _services())
            case _Process.GATEWAY if live:
                probe.live_over_http(_url(at, "/healthz"))
            case _Process.GATEWAY:
                probe.over_http(_url(at, "/readyz"))
            case _Process.DISPATCHER:
                plain = Probe(Credentials(), timeout=seconds)
                plain.over_grpc(at, [""] if live else [_dispatchers_service()])
    except NotServing as error:
        from zart.cli.other_protocol import what_it_speaks  # noqa: PLC0415 - brings in all of TLS

        asks = process is _Process.SERVER and error.in_time
        hint = what_it_speaks(at) if asks else ""
        why = f"{hint} ({error})" if hint else str(error)
        _say_why_not(session, f"the {process} at {at} does not serve: {why}")
        return NOT_SERVING
    if session.is_json:
        from grpc_health.v1.health_pb2 import HealthCheckResponse  # noqa: PLC0415 - as above

        session.print_json(HealthCheckResponse(status=HealthCheckResponse.SERVING))
    else:
        session.print("SERVING")
    return 0


def _say_why_not(session: Session, why: str) -> None:
    from google.rpc import code_pb2  # noqa: PLC0415 - with the protos only

    from zart.cli.problems import say_own  # noqa: PLC0415 - takes a while

    say_own(session, why, code_pb2.UNAVAILABLE)


def _from_environment(process: _Process, session: Session) -> str:
    """Return where a process of this environment listens, as it is called from this machine."""
    from zart.channel import DEFAULT_ADDRESS  # noqa: PLC0415 - gRPC takes a while

    match process:
        case _Process.SERVER:
            found = session.address or os.environ.get("ZART_LISTEN") or DEFAULT_ADDRESS
        case _Process.GATEWAY:
            found = os.environ.get("ZART_GATEWAY_LISTEN") or DEFAULT_LISTEN
        case _Process.DISPATCHER:
            found = os.environ.get("ZART_HEALTH_LISTEN") or ""
            if not found:
                raise typer.BadParameter(
                    "a dispatcher tells its health only where ZART_HEALTH_LISTEN says: set it for"
                    " both, or give --address"
                )
    host, colon, port = found.rpartition(":")
    return f"{_EVERYWHERE.get(host, host)}{colon}{port}"


def _url(at: str, path: str) -> str:
    """Return the URL of a path: of https where ZART_TLS_CERT makes a gateway speak that."""
    if "://" in at:
        return f"{at.rstrip('/')}{path}"
    return f"{'https' if os.environ.get('ZART_TLS_CERT') else 'http'}://{at}{path}"


def _services() -> list[str]:
    from zart.gateway.bindings import all_services  # noqa: PLC0415 - brings in all protos

    return [service.full_name for service in all_services()]


def _dispatchers_service() -> str:
    from zart.dispatcher.health import SERVICE  # noqa: PLC0415 - gRPC takes a while

    return SERVICE
