"""What a shell completes beside commands: names and ids, which the server is asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from itertools import islice
from typing import TYPE_CHECKING

import typer

from zart.cli.given import typed

if TYPE_CHECKING:
    from zart.sync_client import SyncClient

_PATIENCE = 1.0  # seconds: nobody waits longer to see what there is
_MOST = 1_000  # looked at, the newest ones
# Ids are callers' text, and what a shell completes it takes as typed: `$(…)` it would run.
_HARMLESS = re.compile(r"[A-Za-z0-9_][\w.:@/+=,-]*", re.ASCII)


def task_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the tasks whose names begin so."""
    return _known(
        ctx, incomplete, lambda client: (d.task_name for d in client.list_task_definitions())
    )


def execution_ids(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the newest executions whose ids begin so."""
    return _known(
        ctx,
        incomplete,
        lambda client: (e.execution_id for e in client.list_executions(page_size=_MOST)),
    )


def rule_ids(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the pause rules that stand and whose ids begin so."""
    return _known(ctx, incomplete, lambda client: (r.rule_id for r in client.list_pause_rules()))


def breaker_ids(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the breakers whose ids begin so."""
    return _known(ctx, incomplete, lambda client: (b.breaker_id for b in client.list_breakers()))


def batch_ids(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the newest batches whose ids begin so."""
    return _known(
        ctx, incomplete, lambda client: (b.batch_id for b in client.list_batches(page_size=_MOST))
    )


def _known(
    ctx: typer.Context, incomplete: str, names: Callable[[SyncClient], Iterable[str]]
) -> list[str]:
    from zart.errors import ZartError  # noqa: PLC0415 - gRPC takes a while
    from zart.sync_client import connect_sync  # noqa: PLC0415 - likewise

    try:
        with connect_sync(typed(ctx, "address"), timeout=_PATIENCE) as client:
            found = list(islice(names(client), _MOST))
    except (ZartError, ValueError, OSError):  # a shell shows nothing then
        return []
    return [
        name
        for name in dict.fromkeys(found)
        if name.startswith(incomplete) and _HARMLESS.fullmatch(name)
    ]
