"""The ``zart`` command."""

from __future__ import annotations

from zart.cli.main import main

__all__ = ["main"]
