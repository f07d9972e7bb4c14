"""What a batch is of and what it does to that, by the options that say so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import MISSING, fields
from typing import Any

from zart.cli.flags import option_of
from zart.cli.shell import command_line
from zart.cli.values import counted, written_names
from zart.models import ExecutionSelection, IfRunning
from zart.models.batch_operations import BatchOperation

_FIRST = 100  # ids: a batch tells no more of them
_NAMED = 5  # ids that are told themselves
_SHORT = 60  # characters of JSON that are told themselves
_USUAL = (IfRunning.FAIL, "UNSPECIFIED")  # an unfinished run is refused
_NAMES = {"force_rerun": "--rerun"}  # --force is what it was called before
_JSON = ("input", "payload", "result")


def selection_of(selection: ExecutionSelection) -> str:
    """Write which executions a batch is of; a filter as options, as they can be pasted."""
    if selection.everything:
        return "everything"
    ids = selection.execution_ids
    if ids:
        more = " or more" if len(ids) == _FIRST else ""
        names = f": {', '.join(ids)}" if len(ids) <= _NAMED else ""
        return f"{counted(len(ids), 'named execution', more)}{names}"
    words: list[str] = []
    for name, value in (selection.filter or {}).items():
        words += [option_of(name, in_filter=True), _value(name, value)]
    return command_line(words)


def _value(name: str, value: Any) -> str:  # noqa: ANN401 - as JSON has it
    if not isinstance(value, list):
        return str(value)
    prefix = {"statuses": "RUN_STATUS_", "step_statuses": "STEP_STATUS_"}.get(name, "")
    return ",".join(str(one).removeprefix(prefix).lower() for one in value)


def settings_of(operation: BatchOperation) -> str:
    """Write what is not as it is where nothing is said; empty if all is."""
    return " ".join(_settings(operation))


def _settings(operation: BatchOperation) -> Iterator[str]:
    for field in fields(operation):
        value = getattr(operation, field.name)
        if field.default is not MISSING and value == field.default:
            continue
        option = _NAMES.get(field.name) or option_of(field.name)
        if field.name in _JSON:
            text = json.dumps(value, default=str)  # a Decimal of many digits
            is_short = len(text) <= _SHORT
            yield (
                command_line([option, text]) if is_short else f"{option} of {len(text)} characters"
            )
        elif value is True:
            yield option
        elif field.name == "if_running":
            if value not in _USUAL:
                yield f"{option} {str(value).lower()}"
        elif isinstance(value, tuple | list):
            if value:
                yield command_line([option, written_names(value)])
        else:
            yield command_line([option, str(value)])
