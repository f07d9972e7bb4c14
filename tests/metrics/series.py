"""The series that docs/metrics.md has, and those of a scrape, to be compared."""

from __future__ import annotations

import re
from pathlib import Path

from metrics.scraping import Scrape

PAGE = Path(__file__).parents[2] / "docs/metrics.md"
ROW = re.compile(r"^\| `(\w+)` \| (\w+) \| ([\w, ]*)\| ", re.MULTILINE)
_SECTION = re.compile(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_SECTIONS = {
    "server": ("Each process", "A server: what it does", "A server: what is in the database"),
    "credentials": ("What may be out of date: a server and a gateway",),
    "processes": ("A server of several processes",),
    "gateway": ("Each process", "A gateway"),
    "dispatcher": ("Each process", "A dispatcher"),
}
# How the names of the series of a family end.
ENDS = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_count", "_sum")}


def written(process: str) -> dict[str, tuple[str, frozenset[str]]]:
    """Return the type and the labels of each family that the page has of a process, by its name."""
    sections = dict(_SECTION.findall(PAGE.read_text()))
    return {
        name: (kind, frozenset(filter(None, labels.strip().split(", "))))
        for section in _SECTIONS[process]
        for name, kind, labels in ROW.findall(sections[section])
    }


def told(scrape: Scrape) -> dict[str, tuple[str, frozenset[str]]]:
    """Return the same of a scrape; labels that only Prometheus' types have are none."""
    found = {}
    for name, kind in scrape.types.items():
        labels = {
            frozenset(labels.keys() - {"le"})
            for end in ENDS[kind]
            for labels, _ in scrape.of(name + end)
        }
        assert len(labels) == 1, f"{name} has no series, or of several sorts: {labels}"
        found[name] = kind, labels.pop()
    return found
