"""Which commands there are, and where: the module of one is loaded when it is run or asked about.

Loading them all takes longer than most commands do.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, MutableMapping
from typing import Any

import typer
from typer.core import TyperGroup

# By module, in the order of the help: each command, and the first sentence of its own help.
MODULES = {
    "executions": {
        "start": "Start an execution of a task.",
        "list": "List executions, newest first, with what each waits for and which steps are dead.",
        "tasks": "List the task definitions and when a dispatcher last asked for them.",
        "status": (
            "Show an execution, a run, its steps, what each waits for, and how the "
            "failed ones failed."
        ),
        "watch": "Follow a run until it is finished; exit 4 when it ended FAILED or CANCELLED.",
        "wait": (
            "Wait until the current run is finished and print its result; exit 4 when it failed."
        ),
        "cancel": "Cancel the current run.",
    },
    "errors": {
        "errors": (
            "List the kinds of errors that steps are dead of, those of the most steps first."
        ),
    },
    "why": {
        "why": "Tell why a step is not completed: every cause that holds, and what to do next.",
    },
    "admin": {
        "retry-step": "Revive one dead step of the current run.",
        "restart": "End the current run and create the next from scratch.",
        "rerun": "Create the next run, with results of completed steps carried over.",
        "runs": "List the runs of an execution.",
    },
    "by_hand": {
        "complete-step": "Complete a step by hand, with a result.",
        "skip-step": "Skip a step: complete it by hand, without a result.",
        "fail-step": "Fail a step for good by hand.",
    },
    "doubts": {
        "in-doubt": (
            "List the attempts that may have had their effect, though nobody reported it."
        ),
        "resolve": "Record whether an attempt in doubt happened; the step stays as it is.",
    },
    "diff": {
        "diff": "Compare two runs of an execution, step by step.",
    },
    "pausing": {
        "pause": "Withhold matching steps until resume or expiry.",
        "resume": "Delete pause rules: one, those with all of the given scope, or all.",
    },
    "pause_update": {
        "pause-update": "Set when a pause rule ends.",
    },
    "rules": {
        "pause-list": "List pause rules: the same as zart rules.",
        "rules": (
            "List pause rules, newest first: what each withholds, what is in flight, "
            "what it lets go."
        ),
    },
    "releasing": {
        "stop-release": "Have a releasing rule withhold again all that nobody has leased.",
    },
    "exempt": {
        "exempt": "Let steps of executions run though a pause rule matches them.",
    },
    "breakers": {
        "breaker": "Pause steps by themselves when too many of their attempts end badly.",
    },
    "batches": {
        "batch": "Do one operation on many executions, or on steps of them.",
    },
    "retention": {
        "retention": "For how long finished executions are kept before they are removed.",
    },
    "exporting": {
        "export": "Print executions whole, one a line: runs, steps, attempts and operations.",
    },
    "purging": {
        "purge": "Remove finished executions that ended longer ago.",
        "stats": "Tell how much there is: executions by status, and the size of each table.",
    },
    "verify": {
        "verify": (
            "Tell what was leased while a pause rule stood; exit 1 unless the receipt is clean."
        ),
    },
    "audit": {
        "history": (
            "Tell who did what to an execution, and which pause rules held it, newest first."
        ),
        "audit": "Tell who did what, newest first; starts only if --kind names them.",
    },
    "processes": {
        "serve": "Run a server on a database.",
        "migrate": "Bring a database's schema up to date.",
        "dev": "Run PostgreSQL, server, gateway and dispatcher in one, with data in .zart/.",
        "protos": "Write the protos and a descriptor set, for tools without reflection.",
    },
    "dispatch": {
        "dispatch": "Run the steps of tasks; the current folder is on the import path.",
    },
    "health": {
        "health": "Tell whether a process can serve: exit 0 if so, else 1.",
    },
    "gateway": {
        "gateway": "Serve HTTP/JSON for a server.",
    },
    "token": {
        "token": "Make a token: prints it, and the line for the server's file of tokens.",
    },
}
_MODULE_OF = {name: module for module, commands in MODULES.items() for name in commands}


class _Commands(MutableMapping[str, Any]):
    """The commands by name, each loaded when it is looked up."""

    def __init__(self) -> None:
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - click's, whichever typer has
        if name not in self._loaded:
            part = importlib.import_module(f"zart.cli.{_MODULE_OF[name]}")
            part.app.rich_markup_mode = None  # as of the whole: plain, and rich takes a while
            group: Any = typer.main.get_group(part.app)
            self._loaded |= group.commands
        return self._loaded[name]

    def __setitem__(self, name: str, command: Any) -> None:  # noqa: ANN401 - click's
        self._loaded[name] = command

    def __delitem__(self, name: str) -> None:
        del self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_MODULE_OF)

    def __len__(self) -> int:
        return len(_MODULE_OF)


class Commands(TyperGroup):
    """The group of all commands; its help names them without loading any."""

    def __init__(self, **given: Any) -> None:  # noqa: ANN401 - click's
        super().__init__(**given)
        self.commands = _Commands()

    def format_commands(self, _ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - click's
        """Write the names of the commands, and what each does."""
        with formatter.section("Commands"):
            formatter.write_dl([row for commands in MODULES.values() for row in commands.items()])
