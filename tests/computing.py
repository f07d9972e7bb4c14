"""How much a test may compute: seconds of this process's CPU, which a busy machine makes no more."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import pytest


@contextmanager
def cpu_seconds(most: float) -> Iterator[None]:
    """Fail once this process has computed for so long; regular expressions look at signals too."""

    def stop(*_: object) -> NoReturn:
        pytest.fail(f"took more than {most} s of CPU")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, most)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
