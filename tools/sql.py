"""Writes the statements of the store as they are sent: a file of SQL for each of its modules.

``python tools/sql.py OUTPUT``. Nothing is run and no database is needed: a statement is a value, a
``Statement``, or a text at its one call that needs nothing but its module's names. Fails where what
a ``Statement`` declares to lock is not what its text locks.
"""

from __future__ import annotations

import ast
import importlib
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple, TypeAlias, TypeGuard

import zart_server.store
from zart_server.store.statement import Statement, indented

Sender: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef

_STORE = Path(zart_server.store.__file__).parent
_SENDS = frozenset(("fetch", "fetchrow", "fetchval", "execute", "executemany"))
# These prepare sessions and look after them: they speak to connections outside of any transaction.
_OF_SESSIONS = ("connecting", "db", "history", "liveness", "migrate", "notifications", "schema",
                "sessions")  # fmt: skip
_STARTS = ("SELECT", "WITH", "INSERT", "UPDATE", "DELETE")
_MANY = re.compile(r"\$5\b")  # more parameters than are told apart at a glance
_VERBATIM = re.compile(r"'(?:[^']|'')*'|--[^\n]*")
_WRITES = re.compile(r"\b(INSERT INTO|UPDATE|DELETE FROM) zart\.(\w+)")
_PAUSE_LOCK = re.compile(r"pg_advisory_xact_lock|zart\.(shared|expect)_epoch")
# A caller chooses their keys: whoever inserts one waits for whoever inserts the same.
_KEYS_OF_CALLERS = ("executions", "requests", "task_names")


class Sent(NamedTuple):
    """A statement, as a function sends it; ``declared`` is what it says to lock, if it does."""

    name: str
    does: str
    parameters: tuple[str, ...]
    text: str
    declared: tuple[str, ...] | None


def statements(module: ModuleType, tree: ast.Module) -> Iterator[Sent]:
    """Yield the statements that the functions of a module send, in the order of the file."""
    senders = (node for node in ast.walk(tree) if isinstance(node, Sender))
    for function in sorted(senders, key=lambda node: node.lineno):
        if not any(map(_is_sending, ast.walk(function))):
            continue
        does = _sentence(module, function)
        found = [*_values(module, function, does), *_texts(module, function, does)]
        if not found:
            raise SystemExit(f"{module.__name__}.{function.name}: make its statement a Statement")
        yield from (sent for sent in found if sent.text.startswith(_STARTS))


def _sentence(module: ModuleType, function: Sender) -> str:
    text = ast.get_docstring(function)
    if text is None:
        raise SystemExit(f"{module.__name__}.{function.name}: say in a docstring what it does")
    return re.split(r"(?<=\.)\s", " ".join(text.split("\n\n")[0].split()))[0]


def _values(module: ModuleType, function: Sender, does: str) -> Iterator[Sent]:
    """Yield the ``Statement`` values of the module that a function names."""
    named = dict.fromkeys(node.id for node in ast.walk(function) if isinstance(node, ast.Name))
    found: dict[str, Statement] = {}
    for name in named:
        value = vars(module).get(name)
        forms = value.items() if isinstance(value, dict) else [("", value)]
        for form, statement in forms:
            if isinstance(statement, Statement):
                found[f"{name.strip('_').lower().replace('_', ' ')} {form}".rstrip()] = statement
    for called, statement in found.items():
        name = f"{function.name} ({called})" if len(found) > 1 else function.name
        yield Sent(name, does, statement.names, statement.text, statement.locks)


def _texts(module: ModuleType, function: Sender, does: str) -> Iterator[Sent]:
    """Yield the texts that a function sends as they stand at the call."""
    calls = (node for node in ast.walk(function) if _is_sending(node))
    for call in sorted(calls, key=lambda node: node.lineno):
        text = call.args[0]
        if isinstance(text, ast.Attribute):  # of a Statement
            continue
        try:
            found = eval(  # noqa: S307 - an expression of our own module
                compile(ast.Expression(text), module.__name__, "eval"), vars(module)
            )
        except NameError:  # chosen or composed in the function
            continue
        if _MANY.search(found):
            raise SystemExit(f"{module.__name__}.{function.name}: name its many parameters")
        yield Sent(function.name, does, (), indented(found), None)


def _is_sending(node: ast.AST) -> TypeGuard[ast.Call]:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in _SENDS
        and isinstance(node.func.value, ast.Name)
    )


def locked(text: str) -> set[str]:
    """Return what a statement locks, as its text tells."""
    text = _VERBATIM.sub("''", text)
    found = {"pause lock"} if _PAUSE_LOCK.search(text) else set()
    for verb, table in _WRITES.findall(text):
        if verb != "INSERT INTO":
            found.add(table)
        elif table in _KEYS_OF_CALLERS:
            found.add(f"keys of {table}")
    for match in re.finditer(r"\bFOR ((NO KEY )?UPDATE|SHARE)\b", text):
        found.update(re.findall(r"\bFROM zart\.(\w+)", _around(text, match.start())))
    return found


def _around(text: str, end: int) -> str:
    """Return what stands before ``end`` within the same parentheses, but in no others."""
    depth = 0
    kept = []
    for character in reversed(text[:end]):
        depth += {")": 1, "(": -1}.get(character, 0)
        if depth < 0:
            break
        if depth == 0:
            kept.append(character)
    return "".join(reversed(kept))


def written(path: str, sent: Sent) -> str:
    """Return a statement with its header."""
    locks = sorted(locked(sent.text))
    if sent.declared is not None:
        said = sorted({lock.split(",")[0] for lock in sent.declared})
        if said != locks:
            raise SystemExit(f"{path}: {sent.name} declares to lock {said}, but locks {locks}")
        locks = list(sent.declared)
    numbered = ", ".join(f"{name}=${n}" for n, name in enumerate(sent.parameters, 1))
    header = [f"{path}: {sent.name}", sent.does, f"Locks: {'; '.join(locks) or 'nothing'}."]
    if numbered:
        header += textwrap.wrap(f"Parameters: {numbered}.", 97, subsequent_indent="  ")
    return "".join(f"-- {line}\n" for line in header) + f"{sent.text};\n"


def main(output: Path) -> None:
    """Write all statements."""
    files: dict[Path, str] = {}
    for path in sorted(_STORE.rglob("*.py")):
        relative = path.relative_to(_STORE).with_suffix("")
        if relative.parts[0] in (*_OF_SESSIONS, "migrations") or path.name == "__init__.py":
            continue
        module = importlib.import_module(".".join(("zart_server.store", *relative.parts)))
        found = [
            written(f"store/{relative}.py", sent)
            for sent in statements(module, ast.parse(path.read_text()))
        ]
        if found:
            files[output / relative.with_suffix(".sql")] = "\n".join(found)
    shutil.rmtree(output, ignore_errors=True)
    for target, text in files.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
