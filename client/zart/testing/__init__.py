"""Tests of steps and tasks without a server: one step, or a whole graph, in process.

For tests with a real server and a real PostgreSQL there are pytest fixtures: ``zart_server`` and
``zart_database`` (they need ``zart-control[server,embedded]``).
"""

from __future__ import annotations

from zart.testing.in_process import context, run

__all__ = ["context", "run"]
