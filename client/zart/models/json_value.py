"""The type of a JSON value."""

from __future__ import annotations

from typing import Any, TypeAlias

Json: TypeAlias = Any
"""None, bool, int, float, str, list or dict, as ``json`` has them."""
