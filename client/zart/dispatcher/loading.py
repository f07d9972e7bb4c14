"""Finds the tasks that a dispatcher is to run: ``MODULE`` or ``MODULE:NAME``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from pathlib import Path

from zart.tasks import Task


class LoadError(Exception):
    """A module cannot be used; the message says why."""


def load_tasks(targets: Iterable[str]) -> list[Task]:
    """Import modules and give their tasks; the current folder is on the import path.

    Raises LoadError for a module that is not there or has no task, for a NAME that is none, and
    for two tasks of one name. An error inside the module is its own and goes through.
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
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # one that the module itself asks for
        raise LoadError(
            f"no module {module_name!r}: it is looked for in {Path.cwd()} and where python is"
        ) from None
    except ValueError:
        raise LoadError(f"{target!r} is no MODULE or MODULE:NAME") from None
    if not name:
        tasks = [value for value in vars(module).values() if isinstance(value, Task)]
        if not tasks:
            raise LoadError(f"module {module_name!r} has no zart.Task")
        return tasks
    task = getattr(module, name, None)
    if not isinstance(task, Task):
        raise LoadError(f"{target!r} is no zart.Task")
    return [task]
