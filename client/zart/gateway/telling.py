"""What the log, and whoever counts, are told of a request that has ended."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.types import Scope

from zart.gateway.statuses import cut
from zart.json_log import log_event
from zart.trace_context import HEADER, trace_id_of, valid

if TYPE_CHECKING:
    from zart.gateway.metrics import OfTheGateway

_log = logging.getLogger("zart.gateway")
UNKNOWN = "unknown"  # the method of what reaches no RPC


def log_call(scope: Scope, headers: Headers, code: str, begun: float) -> None:
    """Log a request that began at ``begun``, by the monotonic clock, with its HTTP status."""
    ms = round((time.monotonic() - begun) * 1000, 2)
    line = {"method": scope["method"], "path": scope["path"], "status": code, "ms": ms}
    if told := valid(headers.get(HEADER, "")):
        line["trace_id"] = trace_id_of(told)
    log_event(_log, logging.INFO, "call", line)


def tell_unserved(requests: OfTheGateway | None, scope: Scope, code: int, begun: float) -> None:
    """Count and log a request that was refused before any path took it; its path may be anything.

    ``requests`` counts; None: nobody does.
    """
    if requests is not None:
        requests.served(UNKNOWN, str(code), time.monotonic() - begun, waits=False)
    shown = {**scope, "path": cut(scope["path"])}
    log_call(shown, Headers(scope=scope), str(code), begun)
