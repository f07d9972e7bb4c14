"""What somebody typed, option by option: how each is written, which are empty, and which count."""

from __future__ import annotations

import stat
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import typer

# The parameters that name, or are, what is read: see ``read_once``.
_VALUES = ("input", "payload", "result")
_VALUES_OF_STEPS = "inputs"
_IDS = "ids_from"


def shown(parameter: Any) -> str:  # noqa: ANN401 - click's, whichever typer has
    """Write a parameter as people type it."""
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name.upper())
    return str(max(parameter.opts, key=len))


def refuse_empty(ctx: typer.Context, given: Mapping[str, Any], may_be: Collection[str]) -> None:
    """Refuse what was typed and is empty, or has blanks only. Raises BadParameter.

    So writes a script whose variable is not set, ``--task-name "$TASK"``: as not given it would be
    about all there is. What the environment says is as not given where it is empty, and so are
    the parameters named in ``may_be``.
    """
    for parameter in ctx.command.params:
        name = parameter.name or ""
        source = ctx.get_parameter_source(name)
        if name in may_be or source is None or source.name != "COMMANDLINE":
            continue
        value = given.get(name)
        texts = value if isinstance(value, list | tuple) else [value]
        if any(isinstance(text, str) and not text.strip() for text in texts):
            raise typer.BadParameter("is empty", param_hint=shown(parameter))


def read_once(given: Mapping[str, Any]) -> str:
    """Tell what a repeat has to be given again: what was typed as ``-``, or is in no regular file.

    Of these parameters values are read: JSON, ``@FILE`` or ``-``, of some behind ``STEP=``; and of
    one a file of ids. A file as that of ``<(…)`` of a shell can be read once.
    """
    values = [given[name] for name in _VALUES if isinstance(given.get(name), str)]
    values += [text.partition("=")[2] for text in given.get(_VALUES_OF_STEPS) or ()]
    files = [text[1:] for text in values if text.startswith("@")]
    if ids := given.get(_IDS):
        (values if ids == "-" else files).append(ids)
    again = ", given the same on standard input again" if "-" in values else ""
    once = filter(_holds_it_once, dict.fromkeys(files))
    return again + "".join(f", with the same in {file} again" for file in once)


def _holds_it_once(file: str) -> bool:
    try:
        return not stat.S_ISREG(Path(file).stat().st_mode)
    except (OSError, ValueError):  # there is none, or of no such name: it is refused, not repeated
        return False


def typed(ctx: typer.Context, name: str) -> Any:  # noqa: ANN401 - as the option says
    """Return what was typed for an option, behind the command or else before it.

    None: nothing, or empty. What a variable of the environment says was not typed: a command's own
    option reads it too, and must not go before what was typed for the same one before the command.
    """
    at: Any = ctx
    while at is not None:
        source = at.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE" and at.params.get(name):
            return at.params[name]
        at = at.parent
    return None


def refuse_unused(ctx: typer.Context) -> None:
    """Refuse what was typed before a command that has no such option. Raises BadParameter.

    ``zart --address HOST serve`` would serve here, on a database that is named elsewhere.
    """
    group: Any = ctx.command
    if "--help" in ctx.obj.line.argv:
        return
    command = group.commands.get(ctx.invoked_subcommand)
    if command is None or hasattr(command, "commands"):  # those of a group are asked in their turn
        return
    known = {parameter.name for parameter in command.params}
    for parameter in group.params:
        if parameter.name not in known and typed(ctx, parameter.name) is not None:
            told = f"`zart {ctx.invoked_subcommand}` has no use for it"
            raise typer.BadParameter(told, param_hint=shown(parameter))


def options_with_value(ctx: typer.Context) -> frozenset[str]:
    """Return the options behind which a value stands: the command's, and of what it is part of."""
    found: set[str] = set()
    at: Any = ctx
    while at is not None:
        for parameter in at.command.params:
            if parameter.param_type_name == "option" and not parameter.is_flag:
                found.update(parameter.opts)
        at = at.parent
    return frozenset(found)
