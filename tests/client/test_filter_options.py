"""The options of filters say what they are of."""

from __future__ import annotations

import pytest
from client.each_command import EACH
from client.scripted import Run


@pytest.mark.parametrize("line", EACH)
def test_each_option_in_a_help_has_one(line: str) -> None:
    options = [one for one in EACH[line].params if one.param_type_name == "option"]
    assert [one.name for one in options if not (one.hidden or one.help)] == []


def test_a_step_is_a_dead_one_or_one_that_a_rule_withholds(run: Run) -> None:
    for line in ("list", "errors", "export", "batch complete-step"):
        told = " ".join(run(f"{line} --help")[1].split())
        assert "With a dead step of this name; with --of-rule a withheld one." in told
        assert "Whose current run is in one of these." in told
