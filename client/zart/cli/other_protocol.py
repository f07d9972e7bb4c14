"""Finds out why nobody answers, where the one side speaks TLS and the other does not.

gRPC tells of it as of any other lost connection: "Socket closed".
"""

from __future__ import annotations

import os
import re
import socket
import ssl

_PATIENCE = 1.0  # seconds, to connect and again to shake hands
_PLAIN = "WRONG_VERSION_NUMBER"  # how OpenSSL tells of bytes that are no TLS


def what_it_speaks(address: str) -> str:
    """Say so where the server at ``HOST:PORT`` speaks TLS and we do not, or the other way round.

    Empty: it is not that, or cannot be known.
    """
    found = re.fullmatch(r"(?:dns:(?:///)?)?\[?([^\[\],/]+?)\]?:(\d+)", address)
    if found is None:
        return ""
    speaks = _speaks_tls(found[1], int(found[2]))
    if speaks is True and not os.environ.get("ZART_TLS_CA"):
        return (
            f"the server at {address} speaks TLS: set ZART_TLS_CA to the file of the authority"
            " that signed its certificate, or to 'system'"
        )
    if speaks is False and os.environ.get("ZART_TLS_CA"):
        return f"the server at {address} does not speak TLS: unset ZART_TLS_CA"
    return ""


def _speaks_tls(host: str, port: int) -> bool | None:
    context = ssl.create_default_context()
    context.check_hostname = False  # nothing is sent: only what answers is looked at
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        with socket.create_connection((host, port), _PATIENCE) as plain:
            context.wrap_socket(plain, server_hostname=host).close()
    except ssl.SSLError as error:
        if error.reason == _PLAIN:
            return False
        return None if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError) else True
    except (OSError, OverflowError, UnicodeError):
        return None
    return True
