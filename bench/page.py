"""Writes docs/performance.md from the results: only between its markers, the prose is kept.

``<!-- drain -->`` … ``<!-- /drain -->`` is the section of the measurement of that name,
``<!-- summary -->`` the targets of all, ``<!-- machine -->`` where it ran.
"""

from __future__ import annotations

import json
import re
import shutil
import statistics
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from bench import peer
from bench.product import ROOT
from bench.run import QUICK_RESULTS, Run, say
from bench.series import Series
from bench.target import Target

PAGE = ROOT / "docs" / "performance.md"
PLOTS = "performance"  # the folder beside the page


def written(run: Run, measurements: Sequence[ModuleType]) -> Path:
    """Refresh the page; that of a quick run goes where its results go."""
    page = QUICK_RESULTS / "performance.md" if run.quick else PAGE
    text = PAGE.read_text()
    found: list[tuple[ModuleType, dict[str, Any], Series]] = []
    for module in measurements:
        path = run.results / f"{module.__name__.rpartition('.')[2]}.json"
        if path.exists():
            result = json.loads(path.read_text())
            found.append((module, result, Series(result["series"], result["lines"])))
    plots = _plotted(run, page.parent / PLOTS)
    for module, result, series in found:
        text = _replaced(text, result["name"], _section(module, result, series, plots))
    text = _replaced(text, "summary", _summary(found))
    if found:
        text = _replaced(text, "machine", _machine(found[0][1]))
    page.write_text(text)
    return page


def _replaced(text: str, name: str, section: str) -> str:
    pattern = re.compile(f"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    if not pattern.search(text):
        raise RuntimeError(f"docs/performance.md has no place for {name}")
    return pattern.sub(lambda found: f"{found[1]}{section}\n{found[2]}", text)


def _section(module: ModuleType, result: dict[str, Any], series: Series, plots: Path | None) -> str:
    parts = []
    targets = module.targets(series)
    if targets:
        parts.append(_target_table([(None, target) for target in targets]))
    parts.append(_table(module, series))
    if plots is not None and (plots / f"{result['name']}.svg").exists():
        parts.append(f"![{result['title']}]({PLOTS}/{result['name']}.svg)")
    told = [f"{key.replace('_', ' ')} {value}" for key, value in _flat(result["settings"])]
    told += [f"commit {result['machine']['commit']}", result["machine"]["date"]]
    parts.append(f"<sub>{' · '.join(told)}</sub>")
    return "\n\n".join(parts)


def _flat(settings: dict[str, Any]) -> list[tuple[str, str]]:
    flat: list[tuple[str, str]] = []
    for key, value in settings.items():
        if isinstance(value, dict):
            flat.extend((name, str(version)) for name, version in value.items())
        else:
            flat.append((key, f"{value:,}" if isinstance(value, int) else str(value)))
    return flat


def _table(module: ModuleType, series: Series) -> str:
    """Make a row for each thing measured: ratio first, then medians with their spread."""
    ratio: tuple[str, str] | None = getattr(module, "RATIO", None)
    shown = {
        key: title
        for key, title in module.COLUMNS.items()
        if any(series.has(name, key) for name in series.numbers)
    }
    heads = ["", *([f"{ratio[0]} is"] if ratio else []), *shown.values()]
    rows = [heads, ["---", *["--:"] * (len(heads) - 1)]]
    for name in series.numbers:
        cells = [name]
        if ratio:
            known = series.has(name, ratio[1]) and name != ratio[0]
            quotients = series.ratio(ratio, (name, ratio[1])) if known else []
            cells.append(bold(spread(quotients)) if quotients else "")
        cells.extend(spread(series.numbers[name].get(key, [])) for key in shown)
        rows.append(cells)
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _target_table(targets: Sequence[tuple[str | None, Target]]) -> str:
    named = any(name for name, _ in targets)
    heads = [*(["measurement"] if named else []), "target", "bound", "result", ""]
    rows = [heads, ["---"] * len(heads)]
    for name, target in targets:
        unit = f" {target.unit}" if target.unit else ""
        bound = f"{target.kind} {number(target.bound)}{unit}"
        result = f"**{number(target.result)}{unit}**"
        row = [target.what, bound, result, "met" if target.met else "**missed**"]
        rows.append([*([f"[{name}](#{name})"] if named else []), *row])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _summary(found: Sequence[tuple[ModuleType, dict[str, Any], Series]]) -> str:
    return _target_table(
        [
            (result["name"], target)
            for module, result, series in found
            for target in module.targets(series)
        ]
    )


def _machine(result: dict[str, Any]) -> str:
    known = {k: v for k, v in result["machine"].items() if k not in ("commit", "date")}
    return " · ".join(f"{key} {value}" for key, value in known.items())


def spread(numbers: Sequence[float]) -> str:
    """Write the median, with the least and the most where there were several."""
    if not numbers:
        return ""
    middle = number(statistics.median(numbers))
    if len(numbers) == 1:
        return middle
    return f"{middle} ({number(min(numbers))}–{number(max(numbers))})"


def bold(text: str) -> str:
    """Set the median in bold, as a quotient; its spread beside it."""
    middle, space, rest = text.partition(" ")
    return f"**{middle} ×**{space}{rest}"


def number(value: float) -> str:
    """Write three digits, or all before the point."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _plotted(run: Run, folder: Path) -> Path | None:
    """Draw the plots, where there is something to draw them with."""
    if not peer.PYTHON.exists():
        say("no plots are drawn: make build/bench-peers/.installed")
        return folder if folder.exists() else None
    if run.quick:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run([peer.PYTHON, ROOT / "bench" / "plots.py", run.results, folder], check=True)
    return folder
