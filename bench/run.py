"""One run of measurements: how large, how often, against whom, and where its results go."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from bench.machine import machine
from bench.peer import PEERS
from bench.product import ROOT
from bench.series import Series
from bench.target import Target

RESULTS = ROOT / "bench" / "results"
QUICK_RESULTS = ROOT / "build" / "bench-quick"
Setting = TypeVar("Setting")


@dataclass(frozen=True)
class Run:
    """What every measurement is told. ``quick`` only proves that it runs."""

    quick: bool = False
    rounds: int | None = None
    peers: bool = True

    def size(self, full: int, quick: int) -> int:
        """Choose the size of a measurement."""
        return quick if self.quick else full

    def some(self, of: Iterable[Setting], quick: int) -> list[Setting]:
        """Choose among what is measured likewise; a quick run has the first so many."""
        return list(of)[: quick if self.quick else None]

    def times(self, full: int) -> range:
        """Return the rounds."""
        return range(self.rounds or (1 if self.quick else full))

    @property
    def results(self) -> Path:
        """The folder of the results; those of a quick run are not worth keeping."""
        return QUICK_RESULTS if self.quick else RESULTS


class Measurement(Protocol):
    """A module of this package that measures one thing."""

    __name__: str
    TITLE: str
    COLUMNS: dict[str, str]
    measure: Callable[[Run, Series], Awaitable[dict[str, object]]]
    targets: Callable[[Series], list[Target]]


def say(text: str) -> None:
    """Tell whoever waits."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def told(series: Series, name: str, **figures: float) -> None:
    """Add a round's figures and tell them."""
    series.add(name, **figures)
    say(f"  {name:40} " + "  ".join(f"{what} {number:,.4g}" for what, number in figures.items()))


async def performed(measurement: Measurement, run: Run) -> Path:
    """Measure one thing and write what was found."""
    name = measurement.__name__.rpartition(".")[2]
    say(f"{name}: {measurement.TITLE}")
    series = Series()
    begun = time.monotonic()
    settings = await measurement.measure(run, series)
    found = {
        "name": name,
        "title": measurement.TITLE,
        "machine": machine(),
        "settings": settings,
        "plot": getattr(measurement, "PLOT", None),
        "peers": [other.name for other in PEERS],
        "seconds": round(time.monotonic() - begun),
        "series": series.numbers,
        "lines": series.lines,
    }
    run.results.mkdir(parents=True, exist_ok=True)
    path = run.results / f"{name}.json"
    path.write_text(json.dumps(rounded(found), indent=1, ensure_ascii=False) + "\n")
    for target in measurement.targets(series):
        say(
            f"  {'met   ' if target.met else 'MISSED'} {target.what}: {target.result:,.3g}"
            f" {target.unit} ({target.kind} {target.bound:g})"
        )
    return path


def rounded(value: object) -> object:
    """Keep five digits: more would only be noise in a diff."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return value
