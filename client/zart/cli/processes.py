"""The commands that run a server, alone or with all the rest; and the protos for other tools."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Annotated, Any

import typer

from zart.cli.gateway import is_installed
from zart.cli.options import example
from zart.cli.session import Session
from zart.gateway.settings import DEFAULT_LISTEN

app = typer.Typer()

DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--database-url", envvar="ZART_DATABASE_URL", show_envvar=True,
        help="postgresql://user@host/database; others can see it among the processes",
    ),
]  # fmt: skip
DatabaseUrlFile = Annotated[
    Path | None,
    typer.Option(
        "--database-url-file", envvar="ZART_DATABASE_URL_FILE", show_envvar=True,
        metavar="FILE", help="A file that holds it.",
    ),
]  # fmt: skip
AuthTokens = Annotated[
    Path | None,
    typer.Option("--auth-tokens", metavar="FILE", help="Ask who calls: `zart token` makes it."),
]
TlsCert = Annotated[Path | None, typer.Option("--tls-cert", metavar="FILE", help="In PEM.")]
TlsKey = Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", help="In PEM.")]
_NEEDS_DATABASE = (
    "a database is needed: ZART_DATABASE_URL, ZART_DATABASE_URL_FILE, or --database-url, which"
    " everybody on the machine sees; `zart dev` brings one of its own"
)


@app.command(epilog=example("serve --listen 127.0.0.1:50051"))
def serve(
    ctx: typer.Context,
    listen: Annotated[str | None, typer.Option("--listen", metavar="HOST:PORT")] = None,
    database_url: DatabaseUrl = None,
    database_url_file: DatabaseUrlFile = None,
    migrate: Annotated[
        bool | None,
        typer.Option(
            "--migrate/--no-migrate", help="Bring the schema up to date.", show_default="--migrate"
        ),
    ] = None,
    auth_tokens: AuthTokens = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    processes: Annotated[
        int | None,
        typer.Option("--processes", min=1, metavar="N", help="Processes that share the port."),
    ] = None,
) -> int:
    """Run a server on a database."""
    if not database_url and database_url_file is None:
        raise typer.BadParameter(_NEEDS_DATABASE)
    settings_module = _server("settings")
    try:
        settings = settings_module.Settings.load(
            database_url=database_url,
            database_url_file=database_url_file,
            listen=listen,
            migrate=migrate,
            auth_tokens=auth_tokens,
            tls_cert=tls_cert,
            tls_key=tls_key,
            processes=processes,
        )
    except settings_module.SettingsError as error:
        raise typer.BadParameter(str(error)) from None
    code: int
    if settings.processes == 1:
        session: Session = ctx.obj
        code = _server("app").main(settings, is_process=session.is_process)
    else:
        code = _server("supervisor").run_processes(settings)
    return code


@app.command("migrate", epilog=example("migrate"))
def migrate_command(
    ctx: typer.Context,
    database_url: DatabaseUrl = None,
    database_url_file: DatabaseUrlFile = None,
) -> int:
    """Bring a database's schema up to date."""
    try:
        url = _server("settings").database_url_of(database_url, database_url_file)
        if url:
            _server("store.database_url").check_url(url)
            followed = _server("store.followed_url").FollowedUrl(url, database_url_file)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if not url:
        raise typer.BadParameter(_NEEDS_DATABASE)
    session: Session = ctx.obj
    store = _server("store.migrate")

    async def migrating() -> None:
        work = asyncio.create_task(store.migrate(followed))

        def stop(number: int) -> None:
            session.interrupts.note(number)
            work.cancel()

        for number in (signal.SIGINT, signal.SIGTERM) if session.is_process else ():
            asyncio.get_running_loop().add_signal_handler(number, stop, number)
        await work

    try:
        asyncio.run(migrating())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    except _server("store.schema").SchemaOutdated as error:
        session.err.line(f"zart: {error}")
        return 1
    except Exception as error:  # noqa: BLE001 - drivers raise many things; told in one line
        cause = _server("store.driver_errors").cause_of(error)
        session.err.line(
            f"zart: {cause}; check --database-url or ZART_DATABASE_URL, and that it is up"
        )
        return 1
    session.print("the schema is up to date")
    return 0


def _server(name: str) -> Any:  # noqa: ANN401 - a module, unknown to the base install
    """Import a module of the server, which the base install does not bring."""
    import importlib  # noqa: PLC0415 - for these commands only

    try:
        return importlib.import_module(f"zart_server.{name}")
    except ModuleNotFoundError as error:
        raise typer.BadParameter(
            f"the server is not installed ({error.name}): pip install 'zart-control[server]'"
        ) from None


@app.command(epilog=example("dev tasks --reload"))
def dev(
    ctx: typer.Context,
    targets: Annotated[list[str] | None, typer.Argument(metavar="[MODULE ...]")] = None,
    listen: Annotated[str, typer.Option("--listen", metavar="HOST:PORT")] = "127.0.0.1:50051",
    reload: Annotated[
        bool, typer.Option("--reload", help="Restart the dispatcher when files change.")
    ] = False,
    folder: Annotated[Path, typer.Option("--folder", help="Where data is kept.")] = Path(".zart"),
    http: Annotated[
        str,
        typer.Option(
            "--http",
            metavar="HOST:PORT",
            envvar="ZART_GATEWAY_LISTEN",
            help="Where HTTP/JSON is served.",
        ),
    ] = DEFAULT_LISTEN,
) -> int:
    """Run PostgreSQL, server, gateway and dispatcher in one, with data in .zart/."""
    from zart.cli.stack import Stack, StackError  # noqa: PLC0415 - for this command only
    from zart.cli.stopping_signals import signals_that_stop  # noqa: PLC0415 - likewise
    from zart.logs import log_as_the_environment_says  # noqa: PLC0415 - likewise

    session: Session = ctx.obj
    _server("embedded.postgres")
    log_as_the_environment_says()

    stop = asyncio.Event()
    is_there = asyncio.Event()

    async def serve() -> None:
        async with Stack(
            targets or (),
            listen=listen,
            http=http if is_installed() else None,
            folder=folder,
            reload=reload,
        ) as stack:
            scheme = "https" if os.environ.get("ZART_TLS_CERT") else "http"
            also = (
                f"HTTP/JSON on {scheme}://{http}"
                if is_installed()
                else "no HTTP/JSON without pip install 'zart-control[gateway]'"
            )
            is_there.set()
            session.print(f"zart serves on {listen}; {also}; Ctrl-C stops it")
            await stack.wait(stop)

    async def run() -> int:
        serving = asyncio.create_task(serve())

        def end() -> None:
            if not (is_there.is_set() or stop.is_set()):
                serving.cancel()
            stop.set()

        for number in signals_that_stop():
            asyncio.get_running_loop().add_signal_handler(number, end)
        try:
            await serving
        except asyncio.CancelledError:
            session.err.line("stopped while it was starting")
        return 0

    try:
        return asyncio.run(run())
    except StackError as error:
        session.err.line(f"zart: {error}")
        return 1


@app.command(epilog=example("protos build/protos"))
def protos(ctx: typer.Context, folder: Annotated[Path, typer.Argument(metavar="DIR")]) -> None:
    """Write the protos and a descriptor set, for tools without reflection."""
    from zart.cli.protos import write_protos  # noqa: PLC0415 - for this command only

    session: Session = ctx.obj
    try:
        written = list(write_protos(folder))
    except OSError as error:
        told = f"{error.filename or folder} cannot be used: {error.strerror or error}"
        raise typer.BadParameter(told, param_hint="DIR") from None
    for path in written:
        session.out.verbatim(str(path))
