"""What each child of ``zart dev`` is told by its environment, of what ours says."""

from __future__ import annotations

import os


def of_the_server() -> dict[str, str]:
    """Return the environment for the server on the embedded PostgreSQL.

    What PG… says (PGSSLMODE, PGTARGETSESSIONATTRS) is about a database of somebody else's.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def of_callers() -> dict[str, str]:
    """Return the environment for the children that call the server.

    ZART_TLS_CERT and ZART_TLS_KEY are the server's. Callers trust that very certificate unless
    ZART_TLS_CA names whom to trust, and show it only where the server asks for one.
    """
    found = dict(os.environ)
    found.pop("ZART_METRICS_LISTEN", None)  # the server's
    if certificate := found.get("ZART_TLS_CERT"):
        found.setdefault("ZART_TLS_CA", certificate)
        if "ZART_TLS_CLIENT_CA" not in found:
            del found["ZART_TLS_CERT"]
            found.pop("ZART_TLS_KEY", None)
    return found


def of_the_gateway() -> dict[str, str]:
    """Return the environment for the gateway: it listens as the server does, and calls it."""
    found = dict(os.environ)
    found.pop("ZART_METRICS_LISTEN", None)
    if "ZART_TLS_CA" in (callers := of_callers()):
        found["ZART_TLS_CA"] = callers["ZART_TLS_CA"]
    return found
