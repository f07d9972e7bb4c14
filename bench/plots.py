"""Draws a plot of each result: ``plots.py RESULTS FOLDER``, with the peers' Python.

The SVG is the same for the same numbers, so that a diff shows what changed.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
mpl.rcParams.update(
    {
        "svg.hashsalt": "zart",
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
)

from matplotlib import pyplot as plt  # noqa: E402 - after it was told how

MINE, OTHERS, LIMITS = "#1f6f8b", "#99a8b2", "#d9c27a"


def bars(result: dict, figure: str, title: str, path: Path) -> None:
    """Draw a bar for each thing measured, with its spread; logarithmic where they differ much."""
    rows = [(name, f[figure]) for name, f in result["series"].items() if f.get(figure)]
    rows.reverse()
    middles = [statistics.median(numbers) for _, numbers in rows]
    errors = [
        [m - min(numbers) for m, (_, numbers) in zip(middles, rows, strict=True)],
        [max(numbers) - m for m, (_, numbers) in zip(middles, rows, strict=True)],
    ]
    colors = [
        LIMITS if "(limit)" in name else OTHERS if name in result.get("peers", ()) else MINE
        for name, _ in rows
    ]
    drawn, axes = plt.subplots(figsize=(7, 0.6 + 0.34 * len(rows)))
    axes.barh([name for name, _ in rows], middles, xerr=errors, color=colors, height=0.7)
    if max(middles) > 30 * min(middles):
        axes.set_xscale("log")
    for n, middle in enumerate(middles):
        axes.annotate(
            f" {middle:,.3g}" if middle < 100 else f" {middle:,.0f}",
            (middle + errors[1][n], n), va="center", fontsize=8,
        )  # fmt: skip
    axes.set_xlabel(title)
    axes.margins(x=0.15)
    save(drawn, path)


def lines(result: dict, path: Path) -> None:
    """Draw what was followed over time, a panel for each unit."""
    panels: dict[str, dict[str, list]] = {}
    for name, points in result["lines"].items():
        unit, _, what = name.partition(": ")
        panels.setdefault(unit, {})[what] = points
    drawn, axes = plt.subplots(
        len(panels), 1, figsize=(7, 1.9 * len(panels)), sharex=True, squeeze=False
    )
    for axis, (unit, named) in zip(axes[:, 0], panels.items(), strict=True):
        for what, points in named.items():
            axis.plot([x for x, _ in points], [y for _, y in points], label=what, linewidth=1.2)
        axis.set_ylabel(unit)
        axis.set_ylim(bottom=0)
        axis.legend(fontsize=7, frameon=False, ncols=3)
    axes[-1, 0].set_xlabel("seconds")
    save(drawn, path)


def save(drawn: plt.Figure, path: Path) -> None:
    drawn.tight_layout()
    drawn.savefig(path, metadata={"Date": None, "Creator": None})
    plt.close(drawn)
    path.write_text("\n".join(line.rstrip() for line in path.read_text().splitlines()) + "\n")


def main(results: Path, folder: Path) -> None:
    for source in sorted(results.glob("*.json")):
        result = json.loads(source.read_text())
        path = folder / f"{source.stem}.svg"
        if result["lines"]:
            lines(result, path)
        elif result.get("plot"):
            figure, title = result["plot"]
            bars(result, figure, title, path)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
