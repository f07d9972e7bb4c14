"""The version of what is installed: `zart --version`, and each process at its start, tell it."""

from __future__ import annotations

DISTRIBUTION = "zart-control"


def installed_version() -> str:
    """Return the version of the installed distribution, such as ``0.1.0``."""
    from importlib.metadata import version  # noqa: PLC0415 - takes a while, and few ask

    return version(DISTRIBUTION)
