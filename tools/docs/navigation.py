"""Completes the navigation of the site: a hook of mkdocs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any


def on_config(config: dict[str, Any]) -> None:
    """Add the API, and under "More" the documents that the navigation does not name."""
    pages = Path(config["docs_dir"])
    listed = set(_paths(config["nav"]))
    more = [f"docs/{page.name}" for page in sorted((pages / "docs").glob("*.md"))]
    config["nav"] += [
        {"Python": [f"api/{page.name}" for page in sorted((pages / "api").glob("*.md"))]},
        {"More": [page for page in more if page not in listed]},
    ]


def _paths(items: Any) -> Iterator[str]:  # noqa: ANN401 - as it stands in YAML
    for item in items:
        if isinstance(item, dict):
            for inside in item.values():
                yield from _paths([inside] if isinstance(inside, str) else inside)
        else:
            yield item
