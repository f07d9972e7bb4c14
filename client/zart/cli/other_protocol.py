"""Finds out why nobody answers, where the one side speaks TLS and the other does not.

gRPC tells of it as of any other lost connection: "Socket closed".
"""

from __future__ import annotations

import os

from zart.handshakes import one_place_of, speaks_tls

_PATIENCE = 1.0  # seconds, to connect and again to shake hands


def what_it_speaks(address: str) -> str:
    """Say so where the server at ``HOST:PORT`` speaks TLS and we do not, or the other way round.

    Empty: it is not that, or cannot be known.
    """
    place = one_place_of(address)
    if place is None:
        return ""
    speaks = speaks_tls(*place, _PATIENCE)
    if speaks is True and not os.environ.get("ZART_TLS_CA"):
        return (
            f"the server at {address} speaks TLS: set ZART_TLS_CA to the file of the authority"
            " that signed its certificate, or to 'system'"
        )
    if speaks is False and os.environ.get("ZART_TLS_CA"):
        return f"the server at {address} does not speak TLS: unset ZART_TLS_CA"
    return ""
