"""What an update is to change where it has no mask: all that its JSON names, zeros included."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf.descriptor import Descriptor

from zart.gateway.strict_json import field_named

# Of what is updated the fields that callers set, which a mask may name. What was read and is sent
# back has its state, too, which is nothing to change.
SETTINGS = {
    "zart.v1.Breaker": (
        "task_name",
        "step_pattern",
        "failure_threshold",
        "window",
        "min_failure_ratio",
        "error_group_id",
        "cooldown",
        "probe_steps",
        "rate_per_second",
    ),
}


def add_update_mask(request: Any, members: Mapping[str, Any]) -> None:  # noqa: ANN401 - any message
    """Name in the mask of an update what its JSON has, unless it says itself what it changes.

    To protobuf, and so to the server, a zero is as good as left out: it would change all that is
    named but what is to be zero.
    """
    kind: Descriptor = request.DESCRIPTOR
    if "update_mask" in kind.fields_by_name and not request.update_mask.paths:
        request.update_mask.paths.extend(_named(members, kind))


def _named(members: Mapping[str, Any], kind: Descriptor) -> Iterator[str]:
    for name, inside in members.items():
        field = field_named(kind, name)
        part = None if field is None else field.message_type
        if part is not None and part.full_name in SETTINGS:
            found = (field_named(part, inner) for inner in inside)
            settings = SETTINGS[part.full_name]
            yield from (each.name for each in found if each is not None and each.name in settings)
