"""Loads the tasks that a dispatcher runs, named as ``MODULE`` or ``MODULE:NAME``."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path

from zart.tasks import Task


class LoadError(Exception):
    """A module cannot be used; the message says why."""


class ModuleBroken(Exception):
    """A module raises an error when it is imported; the message says which and where."""


def load_tasks(targets: Iterable[str]) -> list[Task]:
    """Import modules and return their tasks; the current folder is on the import path.

    Raises LoadError if a module is not there or has no task, if NAME is no task, or if two tasks
    have one name; ModuleBroken if the module itself raises an error.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    found: dict[str, Task] = {}
    for target in targets:
        for task in _tasks_of(target):
            if found.setdefault(task.name, task) is not task:
                raise LoadError(f"two tasks are named {task.name!r}")
            if not task.steps:
                raise LoadError(f"task {task.name!r} has no steps")
    return list(found.values())


def _tasks_of(target: str) -> list[Task]:
    module_name, _, name = target.partition(":")
    if not module_name or module_name.startswith("."):
        raise LoadError(f"{target!r} is no MODULE or MODULE:NAME")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            # The missing module is one that this module imports.
            raise ModuleBroken(_told(error)) from None
        raise LoadError(
            f"no module {module_name!r}: it is looked for in {Path.cwd()} and where python is"
        ) from None
    except Exception as error:  # noqa: BLE001 - a module may raise anything
        raise ModuleBroken(_told(error)) from None
    if not name:
        tasks = [value for value in vars(module).values() if isinstance(value, Task)]
        if not tasks:
            raise LoadError(f"module {module_name!r} has no zart.Task")
        return tasks
    task = getattr(module, name, None)
    if not isinstance(task, Task):
        raise LoadError(f"{target!r} is no zart.Task")
    return [task]


def _told(error: Exception) -> str:
    """Describe an import error: one line for bad syntax, else the frames of the module."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}: {type(error).__name__}: {error.msg}"
    at = error.__traceback__
    while at is not None and _is_import(at.tb_frame.f_code.co_filename):
        at = at.tb_next
    return "".join(traceback.format_exception(error.with_traceback(at))).rstrip()


def _is_import(file: str) -> bool:
    return file in {__file__, importlib.__file__} or file.startswith("<frozen importlib")
