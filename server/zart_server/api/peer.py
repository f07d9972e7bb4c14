"""By which address a caller is counted, wherever the server limits what one address may do."""

from __future__ import annotations

from urllib.parse import unquote

from zart.networks import network_of


def address_of(peer: str) -> str:
    """Return what counts as one address of a ``peer``, as gRPC names it, without its port."""
    whole = peer.rpartition(":")[0]
    kind, _, host = whole.partition(":")
    address = unquote(host).strip("[]")
    network = network_of(address)
    return whole if network == address else f"{kind}:{network}"
