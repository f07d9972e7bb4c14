"""What was measured: for each thing measured, for each figure, one number a round."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass
class Series:
    """Numbers by the name of what was measured, then by the name of the figure."""

    numbers: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    lines: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def add(self, name: str, **figures: float) -> None:
        """Add one round's figures."""
        of = self.numbers.setdefault(name, {})
        for figure, number in figures.items():
            of.setdefault(figure, []).append(number)

    def has(self, name: str, figure: str) -> bool:
        """Whether it was measured at all: a peer may not be installed."""
        return bool(self.numbers.get(name, {}).get(figure))

    def median(self, name: str, figure: str) -> float:
        """Return the median of the rounds."""
        return statistics.median(self.numbers[name][figure])

    def ratio(self, above: tuple[str, str], below: tuple[str, str]) -> list[float]:
        """Return the quotients of two figures, round by round: what both rounds share cancels."""
        (a, of_a), (b, of_b) = above, below
        pairs = zip(self.numbers[a][of_a], self.numbers[b][of_b], strict=False)
        return [x / y for x, y in pairs if y]


def percentile(numbers: Iterable[float], share: float) -> float:
    """Return the number below which a share (0 to 1) of them lies."""
    ordered = sorted(numbers)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def p50_p99(milliseconds: Sequence[float]) -> dict[str, float]:
    """Return the two figures that a latency is told by."""
    return {"p50_ms": percentile(milliseconds, 0.50), "p99_ms": percentile(milliseconds, 0.99)}


def growth(numbers: Sequence[float]) -> float:
    """Return the mean of the last third against that of the second: 1 where nothing grows."""
    size = max(1, len(numbers) // 3)
    second, last = (numbers[which * size :][:size] or numbers[-1:] for which in (1, 2))
    return statistics.fmean(last) / statistics.fmean(second)
