"""What counts as one caller's address, wherever it is limited what one address may do."""

from __future__ import annotations

import ipaddress


def network_of(host: str) -> str:
    """Return an address, of IPv6 the network of one customer (/64): its addresses have no end."""
    try:
        found = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if found.version == 4 or found.ipv4_mapped or found.is_loopback:  # noqa: PLR2004 - IPv4
        return host
    return str(ipaddress.ip_network((int(found), 64), strict=False))
