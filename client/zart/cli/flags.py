"""Fields of requests by the names they have on the command line."""

from __future__ import annotations

import re
from collections.abc import Mapping

# Where a parameter of a command is not named as the field that it fills.
PARAMETERS = {
    "add_exempt_execution_ids": "execution_ids",
    "error_group_id": "error_group",
    "execution_id_prefix": "id_prefix",
    "expected_attempt": "expect_attempt",
    "base_run_number": "base",
    "expected_run_number": "expect_run",
    "expires_at": "until",
    "expires_in": "lasting",
    "force_rerun": "force",
    "include_batch_items": "batch_items",
    "input_json": "input",
    "must_match": "future",
    "never_expires": "forever",
    "page_size": "limit",
    "payload_json": "payload",
    "rate_per_second": "rate",
    "release_on_expiry": "then",
    "remove_exempt_execution_ids": "execution_ids",
    "result_json": "result",
    "run_number": "run",
    "statuses": "status",
    "step_pattern": "step",
    "step_statuses": "step_status",
    "validate_only": "dry_run",
}
# What else fills a field, where a command looks something up by what was given for another one.
_ELSE = {
    "execution_id": "execution_ids",
    "execution_id_prefix": "execution_id",
    "expires_at": "lasting",
    "older_than": "keep_for",
}
# Fields of a filter that are called as another option is.
_IN_FILTERS = {"batch_id": "of_batch", "rule_id": "of_rule", "triggered_by": "started_by"}
# What many options fill together.
TOGETHER = {"filter": "the filter", "selection": "the filter"}
_INDEX = re.compile(r"\[(\d*)\]")
_NAME = r"[a-z]+(?:_[a-z]+)+"
_WORD = re.compile(_NAME)
# What stands in quotation marks, or within an id, is somebody's own name, and no field.
_QUOTED_OR_WORD = re.compile(rf"""'[^']*'|"[^"]*"|(?<![\w:./'"-]){_NAME}(?![\w/'"-]|[:.]\w)""")
_TWICE = re.compile(r"(?<!\S)(--[\w-]+)(?: or \1(?![\w-]))+")


def in_flags(path: str, what: str, shown: Mapping[str, str]) -> str:
    """Write what is wrong with a field by the names of options: ``--step: is no glob``.

    ``path`` names the field as the server does, such as ``preserve[0]`` or ``breaker.window``. Of
    fields within each other the innermost counts that has an option; if none has, it stays. Of
    several values it is told which is meant, but for the first, which may be the only one.
    ``what`` may name others. ``shown`` gives how each parameter of the command is written.
    """
    names = _INDEX.sub("", path).split(".")
    of_filter = "filter" in names[:-1]

    def flag(name: str) -> str | None:
        return _flag(_IN_FILTERS.get(name, name) if of_filter else name, shown)

    is_unknown = names[-1].isdigit()  # to the server: then nobody can tell what fills it
    found = None if is_unknown else next(filter(None, map(flag, reversed(names))), None)
    if found is not None and (index := _INDEX.search(path)) and index[1].strip("0"):
        found += f" (number {int(index[1]) + 1})"
    told = _WORD.sub(lambda word: flag(word[0]) or word[0], what)
    return f"{found or path}: {_once(told)}"


def words_in_flags(message: str, shown: Mapping[str, str]) -> str:
    """Write a message that is of no field by the names of the command's options.

    ``set accept_in_doubt`` is ``set --accept-in-doubt``, for a command that has it.
    """
    told = _QUOTED_OR_WORD.sub(lambda word: _flag(word[0], shown) or word[0], message)
    return _once(told)


def _once(told: str) -> str:
    """Name an option once where two fields were named that it fills: ``set --for``."""
    return _TWICE.sub(r"\1", told)


def option_of(field: str, *, in_filter: bool = False) -> str:
    """Return the option that fills a field: ``--of-rule`` for a filter's ``rule_id``."""
    name = _IN_FILTERS.get(field, field) if in_filter else field
    return f"--{PARAMETERS.get(name, name).replace('_', '-')}"


def _flag(name: str, shown: Mapping[str, str]) -> str | None:
    parameters = PARAMETERS.get(name, name), _ELSE.get(name, "")
    return next((shown[one] for one in parameters if one in shown), TOGETHER.get(name))
