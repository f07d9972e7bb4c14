"""The type of a JSON value."""

from __future__ import annotations

from typing import Any, TypeAlias

Json: TypeAlias = Any
"""None, bool, int, float, str, list or dict, as ``json`` has them.

An integer of more than 4,300 digits, of which Python makes no int, is read as a
``decimal.Decimal``.
"""
