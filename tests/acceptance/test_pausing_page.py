"""docs/pausing.md: its lines of Python run, one after the other, and the last says whether it held."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
from rig import Rig

import zart

PAGE = (Path(__file__).parents[2] / "docs/pausing.md").read_text()
PYTHON = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


async def play(code: str, names: dict[str, Any]) -> None:
    """Run a block within a coroutine, as its reader does."""
    compiled = compile(code, "pausing.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    await eval(compiled, names)  # noqa: S307 - our page


async def test_a_script_pauses_and_goes_on_by_the_receipt(rig: Rig) -> None:
    await rig.start("x", {"charge-card": ()}, task="order")
    names: dict[str, Any] = {"client": rig.client}
    pauses, verifies = PYTHON
    await play(pauses, names)
    assert await rig.lease(task="order") == []
    await play(verifies, names)
    assert names["receipt"].clean

    await rig.db.execute("UPDATE zart.pause_rules SET token_from = NULL")
    with pytest.raises(zart.errors.PauseUnproven):
        await play(verifies, names)
