"""Steps whose names have what stands between names, or behind them, on the command line."""

from __future__ import annotations

import asyncio
import shlex

import pytest
import typer
from rig import Rig

from zart.cli.main import main
from zart.cli.values import inputs_of, names_of, written_names
from zart.testing.server import ServerUnderTest

NAMES = ["a", "b", "a,b", "a=b", "a\\", "a\\b", "a\\,b", "\\", ",", "\\\\", "a\\=b", "\\,\\"]


def test_names_are_read_as_they_are_written() -> None:
    assert names_of([written_names(NAMES)], "--rerun") == NAMES
    assert [names_of([written_names([name])], "--rerun") for name in NAMES] == [[n] for n in NAMES]
    assert written_names(["a", "a,b", "a=b", "a\\b"]) == "a,a\\,b,a=b,a\\b"
    assert names_of([" a , ,\\,b ", "c\\=d"], "--rerun") == ["a", ",b", "c=d"]
    for text in ("", " ", ",", ", ,"):
        with pytest.raises(typer.BadParameter, match="names nothing"):
            names_of([text], "--rerun")


def test_the_input_of_a_step_with_an_equals_sign() -> None:
    given = ['a\\=b={"x": "y=\\\\="}', "a=1", "a\\\\=2", "a,b=3", "c\\,d=4"]
    assert {name: value.text for name, value in inputs_of(given, "--input").items()} == {
        "a=b": '{"x": "y=\\\\="}',
        "a": "1",
        "a\\": "2",
        "a,b": "3",
        "c,d": "4",
    }
    for text in ("a", "=1", "a\\=1"):
        with pytest.raises(typer.BadParameter, match="is not STEP=JSON"):
            inputs_of([text], "--input")


async def test_a_rerun_names_such_steps_and_no_others(
    rig: Rig, zart_server: ServerUnderTest, capsys: pytest.CaptureFixture[str]
) -> None:
    await rig.start("x", dict.fromkeys(("a", "b", "a,b", "a=b", "c,d"), ()))
    await rig.work()

    async def zart(*words: str) -> str:
        code = await asyncio.to_thread(main, ["--address", zart_server.address, *words])
        told = capsys.readouterr()
        assert code == 0, told
        return told.out

    words = ["rerun", "x", "--rerun", r"a\,b", "--preserve", r"c\,d,b", "--input", r"a\=b=7"]
    planned = (await zart(*words, "--dry-run")).splitlines()
    assert "reruns    a,b, a=b" in planned
    await zart(*shlex.split(planned[-1])[1:])
    tasks = {task.step_name: task for task in await rig.lease()}
    assert {name: task.input for name, task in tasks.items()} == {"a,b": None, "a=b": 7}
    await rig.complete(*tasks.values())

    words = ["--execution-id", "x", "--rerun", r"a\,b,a", "--preserve", r"c\,d"]
    batch = (await zart("batch", "rerun", *words, "--yes")).split()
    (batch_id,) = {word for word in batch if word.startswith("ba-")}
    assert r"--rerun 'a\,b,a' --preserve 'c\,d'" in await zart("batch", "show", batch_id)
    assert {task.step_name for task in await rig.lease()} == {"a,b", "a"}
