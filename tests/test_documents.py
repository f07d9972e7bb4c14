"""What the documents name is there: a walk through the code that leads nowhere is worse than none."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "deploy/*.md", "examples/*.md")
    for path in ROOT.glob(pattern)
    if path.name != "CHANGELOG.md"
)
# What a document calls `engine/dispatch/report.py` is the server's, for short.
ROOTS = (ROOT, ROOT / "server/zart_server", ROOT / "client/zart", ROOT / "tests", ROOT / "examples")
# Of the reader's own making.
THEIRS = {"tasks.py"}
NAMED = re.compile(r"`([\w./-]+\.(?:py|sql|proto|toml|yaml|yml))(?:: ?`?([\w.]+))?[^`]*`")
LINKED = re.compile(r"\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)")


def found(name: str) -> list[Path]:
    """Return the files that a document may mean by this name."""
    return [root / name for root in ROOTS if (root / name).is_file()]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_paths_lead_somewhere(document: Path) -> None:
    text = document.read_text()
    missing = [
        match.group(1)
        for match in NAMED.finditer(text)
        if match.group(1) not in THEIRS and not found(match.group(1))
    ]
    missing += [
        match.group(1)
        for match in LINKED.finditer(text)
        if not (document.parent / match.group(1)).exists()
    ]

    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_names_within_files_are_defined_there(document: Path) -> None:
    """As in `store/runs.py: lock_runs`."""
    missing = []
    for match in NAMED.finditer(document.read_text()):
        path, name = match.groups()
        if name is None or not path.endswith(".py"):
            continue
        tree = ast.parse(found(path)[0].read_text())
        defined = {
            node.name
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        }
        if name.rpartition(".")[2] not in defined:
            missing.append(match.group(0))

    assert missing == []


def test_each_page_is_linked_from_the_readme() -> None:
    linked = {ROOT / target for target in LINKED.findall((ROOT / "README.md").read_text())}
    pages = set(ROOT.glob("docs/*.md"))

    assert len(pages) > 20
    assert pages - linked == set()


WALKS = ("RetryStep", "LeaseTasks", "ReportTasks")


@pytest.mark.parametrize("call", WALKS)
def test_a_walk_goes_where_the_code_goes(call: str) -> None:
    """Each function is called by another file of the walk, but for the servicer's, the first."""
    text = (ROOT / "docs/architecture.md").read_text()
    walk = re.search(rf"^### {call}$(.*?)^##", text, re.MULTILINE | re.DOTALL)
    assert walk is not None
    steps = [(found(path)[0], name) for path, name in NAMED.findall(walk.group(1))]
    sources = {path: path.read_text() for path, _ in steps}
    named = [(path, name.rpartition(".")[2]) for path, name in steps if name]
    lost = [
        (str(path), name)
        for path, name in named
        if name != call
        and not any(
            re.search(rf"\b{name}\b", source) for other, source in sources.items() if other != path
        )
    ]

    assert len(named) > 5
    assert lost == []


@pytest.mark.parametrize(
    "decision", sorted((ROOT / "docs/adr").glob("0*.md")), ids=lambda path: str(path.stem)
)
def test_each_decision_says_what_was_rejected_and_is_listed(decision: Path) -> None:
    text = decision.read_text()
    parts = re.findall(r"^\*\*(\w+)\.\*\*", text, re.MULTILINE)
    listed = (decision.parent / "README.md").read_text()

    assert {"Context", "Decision", "Rejected", "Consequences"} <= set(parts)
    assert f"]({decision.name})" in listed
    assert text.startswith(f"# {int(decision.stem[:4])}. ")
