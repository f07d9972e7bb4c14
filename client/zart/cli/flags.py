"""Fields of requests by the names they have on the command line."""

from __future__ import annotations

import re
from collections.abc import Mapping

# Where a parameter of a command is not named as the field that it fills.
PARAMETERS = {
    "error_group_id": "error_group",
    "execution_id_prefix": "id_prefix",
    "expected_attempt": "expect_attempt",
    "base_run_number": "base",
    "expected_run_number": "expect_run",
    "expires_at": "lasting",
    "expires_in": "lasting",
    "force_rerun": "force",
    "filter": "step",  # the first of its options
    "input_json": "input",
    "must_match": "future",
    "page_size": "limit",
    "payload_json": "payload",
    "rate_per_second": "rate",
    "release_on_expiry": "then",
    "result_json": "result",
    "run_number": "run",
    "statuses": "status",
    "step_pattern": "step",
    "step_statuses": "step_status",
    "validate_only": "dry_run",
}
# What a field of a batch stands in, where a command has an option for the field itself.
_OF_BATCH = re.compile(r"selection\.(?=filter\.)|operation\.[a-z_]+\.")
_OF_FILTER = "filter."
# Fields of a filter that are called as another option is.
_IN_FILTERS = {"batch_id": "of_batch", "rule_id": "of_rule", "triggered_by": "started_by"}
_WORD = re.compile(r"[a-z]+(?:_[a-z]+)+")
_FIELD = re.compile(r"([a-z_]+)(?:\[\d+\])?")


def in_flags(text: str, shown: Mapping[str, str]) -> str:
    """Write text with the names of fields as those of options.

    ``shown`` gives how each parameter of the command is written.
    """
    return _WORD.sub(lambda found: _flag(found[0], shown), text)


def field_in_flags(path: str, shown: Mapping[str, str]) -> str:
    """Write the path of a field, such as ``preserve[0]``, as its option."""
    path = _OF_BATCH.sub("", path, count=1)
    if path.startswith(_OF_FILTER):
        path = path.removeprefix(_OF_FILTER)
        path = _IN_FILTERS.get(path, path)
    found = _FIELD.match(path)
    return path if found is None else _flag(found[1], shown) + path[found.end() :]


def _flag(field: str, shown: Mapping[str, str]) -> str:
    return shown.get(PARAMETERS.get(field, field), field)
