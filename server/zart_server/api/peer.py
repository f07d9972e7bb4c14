"""By which address a caller is counted, wherever the server limits what one address may do."""

from __future__ import annotations

import ipaddress
from urllib.parse import unquote


def address_of(peer: str) -> str:
    """Return what counts as one address of a ``peer``, as gRPC names it, without its port.

    Of IPv6 that is the network of one customer (/64): its addresses have no end.
    """
    whole = peer.rpartition(":")[0]
    kind, _, host = whole.partition(":")
    if kind != "ipv6":
        return whole
    try:
        found = ipaddress.IPv6Address(unquote(host).strip("[]").partition("%")[0])
    except ValueError:
        return whole
    if found.ipv4_mapped or found.is_loopback:
        return whole
    return f"ipv6:{ipaddress.IPv6Network((int(found), 64), strict=False)}"
