"""Closes a channel for plain code, though gRPC might wait for ever.

To close one, it waits until the channel's thread has told the end of each call on it. A call that
was broken off as it began has no thread: Ctrl-C came in that moment, or no thread could be started.
"""

from __future__ import annotations

import threading

import grpc

_WITHIN = 1.0  # seconds: far more than it takes where each call can end


def close_channel(channel: grpc.Channel) -> None:
    """Close a channel, in a second at most.

    One that cannot be closed is left to the end of the process: it takes no more calls.
    """
    closing = threading.Thread(target=channel.close, name="zart-closing", daemon=True)
    try:
        closing.start()
    except RuntimeError:  # at the process's limit of threads; nearly all can be closed at once
        channel.close()
    else:
        closing.join(_WITHIN)
