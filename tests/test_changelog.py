"""CHANGELOG.md tells each change once: a merge of two branches that changed an entry keeps both."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_no_change_is_told_twice() -> None:
    entries = (ROOT / "CHANGELOG.md").read_text().split("\n- ")[1:]
    words = [(frozenset(re.findall(r"[\w`-]{3,}", entry)), entry) for entry in entries]
    assert len(words) > 100

    twice = [
        f"{one}\n---\n{other}"
        for (of_one, one), (of_other, other) in itertools.combinations(words, 2)
        if len(of_one & of_other) > 0.48 * len(of_one | of_other)
    ]
    assert not twice, "\n\n".join(twice)
