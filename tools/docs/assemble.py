"""Assembles what the site of ``make docs`` is made of: ``python tools/docs/assemble.py FOLDER``.

The documents are copied as they are, at the places that they have here, so that links between them
hold. What they link to besides, a program or a folder of them, becomes a page that shows it, and so
does each proto.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("README.md", "CHANGELOG.md", "docs/**/*.md", "deploy/**/*.md", "examples/**/*.md")
PROTOS = "protos/zart/v1"
# What a page shows as code; anything else is copied.
LANGUAGES = {
    ".py": "python",
    ".sql": "sql",
    ".proto": "protobuf",
    ".go": "go",
    ".java": "java",
    ".ts": "typescript",
    ".sh": "bash",
    ".yaml": "yaml",
    ".yml": "yaml",
    ".toml": "toml",
    ".json": "json",
    ".xml": "xml",
    ".tpl": "yaml",
    ".mod": "text",
    ".lock": "text",
    ".service": "ini",
}
_LINK = re.compile(r"(?P<before>\]\()(?P<to>[^)#\s]+)(?P<after>(?:#[^)\s]*)?\))")
_METHODS = "Each call of the pages *Calls* is a method here, of the same name and arguments.\n\n"
# What `zart.client` and the other modules of the API are, in the words of a heading.
API = {
    "zart.client": "The client for asyncio",
    "zart.sync_client": "The client for plain code",
    "zart.runs": "Both clients: run",
    "zart.watches": "Both clients: watch",
    "zart.calls.execution": "Calls: executions",
    "zart.calls.changes": "Calls: operations",
    "zart.calls.filtered": "Calls: lists by a filter",
    "zart.calls.admin": "Calls: rules and receipts",
    "zart.calls.resuming": "Calls: resuming",
    "zart.calls.batch": "Calls: batches",
    "zart.calls.breaker": "Calls: breakers",
    "zart.calls.doubts": "Calls: what is in doubt",
    "zart.calls.audit": "Calls: who did what",
    "zart.calls.definitions": "Calls: task definitions",
    "zart.calls.dispatch": "Calls: dispatch",
    "zart.tasks": "Tasks and steps",
    "zart.step_context": "What a step is given",
    "zart.dispatcher.service": "The dispatcher",
    "zart.handles": "Handles",
    "zart.models": "Answers",
    "zart.errors": "Errors",
    "zart.credentials": "Credentials",
    "zart.testing": "For tests",
}


def assemble(target: Path) -> None:
    """Write the whole below ``target``, which is made anew."""
    shutil.rmtree(target, ignore_errors=True)
    for source in documents():
        _write(target / source.relative_to(ROOT), _with_links(source, target))
    _show(ROOT / PROTOS, target)
    for module, title in API.items():
        said = _METHODS if module.endswith("client") else ""
        _write(target / f"api/{module}.md", f"# {title}\n\n{said}::: {module}\n")


def documents() -> list[Path]:
    """Return the documents of the repository."""
    found = {path for pattern in DOCUMENTS for path in ROOT.glob(pattern)}
    return sorted(path for path in found if "node_modules" not in path.parts)


def _with_links(source: Path, target: Path) -> str:
    """Return a document whose links lead to pages of the site, which are made where they lack."""

    def turned(link: re.Match[str]) -> str:
        to = link["to"]
        if re.match(r"\w+:", to):
            return link[0]
        there = (source.parent / to).resolve()
        if there.suffix == ".md" or not there.is_relative_to(ROOT):
            return link[0]
        return f"{link['before']}{to.rstrip('/')}{_show(there, target)}{link['after']}"

    return _LINK.sub(turned, source.read_text())


def _show(there: Path, target: Path) -> str:
    """Make the page of a file or a folder; return what its link has more than its name."""
    at = target / there.relative_to(ROOT)
    if there.is_dir():
        if (there / "README.md").exists():
            return "/README.md"
        files = [path for path in sorted(there.rglob("*")) if path.suffix in LANGUAGES]
        shown = "\n\n".join(_code(path, path.relative_to(there)) for path in files)
        _write(at / "index.md", f"# {there.relative_to(ROOT)}\n\n{shown}\n")
        return "/index.md"
    if there.suffix in LANGUAGES:
        _write(at.with_name(f"{at.name}.md"), f"# {there.name}\n\n{_fenced(there)}\n")
        return ".md"
    at.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(there, at)
    return ""


def _code(path: Path, name: Path) -> str:
    return f"## {name}\n\n{_fenced(path)}"


def _fenced(path: Path) -> str:
    text = path.read_text()
    fence = "`" * max(3, 1 + max(map(len, re.findall(r"`+", text)), default=0))
    return f"{fence}{LANGUAGES[path.suffix]}\n{text.rstrip()}\n{fence}"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def broken_links(target: Path) -> Iterator[str]:
    """Return each link of a page that leads nowhere within the site."""
    for page in sorted(target.rglob("*.md")):
        outside = re.sub(r"^(`{3,}).*?^\1$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        for link in _LINK.finditer(outside):
            to = link["to"]
            if not re.match(r"\w+:", to) and not (page.parent / to).is_file():
                yield f"{page.relative_to(target)}: {to}"


if __name__ == "__main__":
    assemble(Path(sys.argv[1]))
    wrong = list(broken_links(Path(sys.argv[1])))
    sys.exit("\n".join(wrong) or 0)
