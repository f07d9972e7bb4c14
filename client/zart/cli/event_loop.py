"""Runs a process that is nothing but an event loop, and makes the most of it."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run_for_long(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on the fastest loop there is; uvloop is not for Windows.

    What is loaded by now lives as long as the process, and a batch of tasks comes and goes as a
    whole: with a look for garbage at every 700 objects, the default, it would cost a tenth more.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)
    try:
        import uvloop  # noqa: PLC0415 - where there is one
    except ModuleNotFoundError:
        return asyncio.run(main)
    return uvloop.run(main)
