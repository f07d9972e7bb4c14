"""Of an error with very many frames the first and the last are told, and how many are left out."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from client.test_traceback_text import by_the_library, raised_by

from zart.dispatcher.traceback_text import traceback_text


def endlessly(depth: int = 0) -> None:
    endlessly(depth + 1)


def from_one_of_very_many_frames() -> None:
    try:
        endlessly()
    except RecursionError as error:
        raise ValueError("too deep") from error


def while_one_of_very_many_is_handled() -> None:
    try:
        endlessly()
    except RecursionError:
        raise ValueError("too deep")  # noqa: B904 - the case


def of_a_group_with_one() -> None:
    raise ExceptionGroup("both", [ValueError("no"), raised_by(endlessly)])


@pytest.mark.parametrize(
    "fail",
    [endlessly, from_one_of_very_many_frames, while_one_of_very_many_is_handled,
     of_a_group_with_one],
)  # fmt: skip
def test_of_very_many_frames_the_first_and_the_last_are_told(fail: Callable[[], object]) -> None:
    """Of causes, and in groups, too: where they were called from, and that there were more."""
    error = raised_by(fail)
    text = traceback_text(error)
    whole = by_the_library(error)
    (left_out,) = re.findall(r"\((\d+) frames are left out here\)", text)
    folded = [re.findall(r"Previous line repeated (\d+) more", each) for each in (text, whole)]
    lines = [each.count("in endlessly\n") for each in (text, whole)]
    told, all_of_them = (
        shown + sum(map(int, each)) for shown, each in zip(lines, folded, strict=True)
    )
    assert told + int(left_out) == all_of_them
    assert text.count("in raised_by\n") == whole.count("in raised_by\n")
    assert text.splitlines()[-1] == whole.splitlines()[-1]
