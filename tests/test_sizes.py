"""A file is about one thing: none that is written by hand has more than 300 lines, but for tables."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("server", "client", "tests", "bench", "tools", "examples", "protos", "deploy", "docs")
WRITTEN_BY_HAND = {
    ".py",
    ".sql",
    ".proto",
    ".md",
    ".yaml",
    ".toml",
    ".js",
    ".mjs",
    ".ts",
    ".go",
    ".java",
    ".sh",
}
GENERATED = ("client/zart/v1/", "docs/sql/")
MOST = 300
# What is one table, or one list, is no easier to read in pieces.
TABLES = {
    "docs/performance.md": "a table for each measurement, most of it filled in by bench",
    "protos/zart/v1/admin_service.proto": "one service: a request and a response for each call",
    "protos/zart/v1/dispatch_service.proto": "likewise",
    "protos/zart/v1/execution_service.proto": "likewise",
}


def too_long() -> set[str]:
    """Return the files that are written by hand and have too many lines."""
    files = [
        path
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.suffix in WRITTEN_BY_HAND and "node_modules" not in path.parts and path.is_file()
    ]
    assert len(files) > 400
    names = {str(path.relative_to(ROOT)): path for path in files}
    return {
        name
        for name, path in names.items()
        if not name.startswith(GENERATED) and len(path.read_text().splitlines()) > MOST
    }


def test_no_file_is_too_long_to_be_about_one_thing() -> None:
    assert too_long() == TABLES.keys()
