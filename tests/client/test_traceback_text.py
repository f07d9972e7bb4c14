"""What is told of an error is what the standard library tells, word for word, whatever was raised."""

from __future__ import annotations

import importlib
import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FunctionType, TracebackType
from typing import Any

import pytest

from zart.dispatcher import traceback_text as module
from zart.dispatcher.traceback_text import traceback_text


def by_the_library(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def raised_by(fail: Callable[[], object]) -> Exception:
    try:
        fail()
    except Exception as error:  # noqa: BLE001 - whatever it is
        return error
    raise AssertionError(fail)


def made_of(source: str, file: str) -> FunctionType:
    """Return the one function that a source defines, as if it stood in that file."""
    consts = compile(source, file, "exec").co_consts
    return FunctionType(next(code for code in consts if isinstance(code, CodeType)), {})


def plain() -> None:
    raise ValueError("no")


def without_words() -> None:
    raise ValueError


def of_two_lines() -> None:
    raise ValueError("two\nlines")


def with_notes() -> None:
    error = ValueError("no")
    error.add_note("a note\nof two lines")
    error.add_note("another")
    raise error


def in_a_library() -> None:
    json.loads("{")


def in_part_of_a_line() -> int:
    return {"a": {"b": 1}}["a"]["c"] + 1


def beside_wide_letters() -> str:
    return "世界" + str(1 / 0)


def in_several_lines() -> list[Any]:
    return sorted(
        [1, "a"],
        key=lambda item: item,
    )


def at_a_place_without_source() -> None:
    made_of("def fail():\n    raise ValueError('no')\n", "<made>")()


def from_another() -> None:
    try:
        plain()
    except ValueError as error:
        raise KeyError("no") from error


def while_another_is_handled() -> None:
    try:
        plain()
    except ValueError:
        in_part_of_a_line()


def from_none() -> None:
    try:
        plain()
    except ValueError:
        raise KeyError("no") from None


class Nothing(Exception):
    """An error that is false: the standard library tells no cause of it."""

    def __bool__(self) -> bool:
        return False


def of_nothing() -> None:
    raise Nothing from ValueError("no")


class Mute(Exception):
    """One that cannot say what it is."""

    def __str__(self) -> str:
        raise Mute


def without_a_text() -> None:
    raise Mute


def of_a_group() -> None:
    raise ExceptionGroup("both", [ValueError("no"), KeyError("no")])


def of_a_name() -> None:
    value = 1
    assert value
    raise NameError("name 'valeu' is not defined", name="valeu")


def of_an_attribute() -> None:
    text: Any = ""
    text.uper()


def of_an_import() -> None:
    importlib.import_module("zart.nowhere")


def of_a_syntax() -> None:
    compile("a b", "written.py", "exec")


def four_deep(depth: int = 4) -> float:
    return four_deep(depth - 1) if depth else 1 / 0


def by_functions_of_one_line() -> None:
    one_in_another = "(lambda: (lambda: (lambda: (lambda: (lambda: 1 / 0)())())())())()"
    made_of(f"def fail():\n    {one_in_another}\n", "<made>")()


def to_and_fro(depth: int = 60) -> float:
    return _fro_and_to(depth - 1) if depth else 1 / 0


def _fro_and_to(depth: int) -> float:
    return to_and_fro(depth - 1)


FAILING: tuple[Callable[[], object], ...] = (
    plain, without_words, of_two_lines, with_notes, in_a_library, in_part_of_a_line,
    beside_wide_letters, in_several_lines, at_a_place_without_source, from_another,
    while_another_is_handled, from_none, of_nothing, without_a_text, of_a_group, of_a_name,
    of_an_attribute, of_an_import, of_a_syntax, four_deep, by_functions_of_one_line, to_and_fro,
)  # fmt: skip


@pytest.mark.parametrize("fail", FAILING, ids=lambda fail: fail.__name__)
def test_the_first_time_and_again_it_is_what_the_library_tells(fail: Callable[[], object]) -> None:
    module._texts.clear()
    for _ in range(3):
        error = raised_by(fail)
        assert traceback_text(error) == by_the_library(error)


def test_most_are_told_by_the_texts_that_are_kept() -> None:
    module._texts.clear()
    traceback_text(raised_by(in_a_library))
    kept = dict(module._texts)
    traceback_text(raised_by(in_a_library))

    assert len(kept) > 2  # that of ``raised_by``, its own, and those of the library
    assert module._texts == kept


def test_an_error_that_nobody_raised_has_no_frames() -> None:
    error = ValueError("no")
    assert traceback_text(error) == by_the_library(error) == "ValueError: no\n"


@pytest.mark.parametrize(("instruction", "line"), [(-1, 7), (None, 7), (None, None)])
def test_a_traceback_that_was_put_together_is_told_as_it_is(
    instruction: int | None, line: int | None
) -> None:
    error = raised_by(plain)
    traceback_text(error)
    at = error.__traceback__
    assert at is not None
    made = TracebackType(
        None,
        at.tb_frame,
        at.tb_lasti if instruction is None else instruction,
        at.tb_lineno if line is None else line,
    )
    error = error.with_traceback(made)
    assert traceback_text(error) == by_the_library(error)


@pytest.mark.parametrize("most", [0, 1, 2])
def test_a_limit_that_the_process_has_set_is_kept(
    monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(sys, "tracebacklimit", most, raising=False)
    error = raised_by(in_a_library)
    assert traceback_text(error) == by_the_library(error)


def test_code_that_is_the_same_in_two_files_is_told_of_each() -> None:
    source = "def fail():\n    raise ValueError('no')\n"
    one, other = made_of(source, "one.py"), made_of(source, "other.py")
    assert one.__code__ == other.__code__

    for fail, file in ((one, "one.py"), (other, "other.py"), (one, "one.py")):
        assert f'File "{file}", line 2, in fail' in traceback_text(raised_by(fail))


def test_a_file_that_is_rewritten_is_told_by_the_lines_that_ran(tmp_path: Path) -> None:
    """And is read once, however often a step fails at the same line."""
    file = tmp_path / "steps.py"
    source = "def fail():\n    raise ValueError('no')\n"
    file.write_text(source)
    fail = made_of(source, str(file))
    first = traceback_text(raised_by(fail))
    file.write_text("# other lines\n" * 9)

    assert "    raise ValueError('no')\n" in first
    assert traceback_text(raised_by(fail)) == first


def test_of_code_that_is_made_anew_each_time_no_more_is_kept_than_a_bound() -> None:
    for number in range(module._MOST + 10):
        fail = made_of("def fail():\n    raise ValueError('no')\n", f"file-{number}.py")
        assert f"file-{number}.py" in traceback_text(raised_by(fail))

    assert len(module._texts) <= module._MOST


def test_long_lines_are_not_kept(tmp_path: Path) -> None:
    file = tmp_path / "steps.py"
    source = f"def fail():\n    raise ValueError('{'long ' * module._LONGEST}')\n"
    file.write_text(source)
    fail = made_of(source, str(file))
    error = raised_by(fail)
    module._texts.clear()

    assert traceback_text(error) == by_the_library(error)
    assert str(file) not in "".join(text for _, text in module._texts.values())
