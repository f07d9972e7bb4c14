"""How a peer's program is called and how it tells what it measured: JSON on its last line."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("command")
    parser.add_argument("--url", default="")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--binary", default="")
    return parser.parse_args()


def say(**found: object) -> None:
    print(json.dumps(found), flush=True)


def timed(call: Callable[[], object]) -> float:
    """Return the milliseconds that a call took."""
    begun = time.perf_counter()
    call()
    return (time.perf_counter() - begun) * 1000
