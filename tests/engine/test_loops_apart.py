"""A server's loops begin one after another, so that few connections do for all of them."""

from __future__ import annotations

from itertools import pairwise

from zart.testing.server import ServerUnderTest

AT_LEAST = 0.04  # seconds, in which a turn that has nothing to do is over


def test_no_two_loops_begin_at_once(zart_server: ServerUnderTest) -> None:
    loops = zart_server.running.runtime.loops
    begin = sorted(loop._first for loop in loops if loop._first is not None)
    assert len(begin) > 1
    assert min(later - sooner for sooner, later in pairwise(begin)) >= AT_LEAST
