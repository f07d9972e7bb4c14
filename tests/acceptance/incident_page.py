"""docs/incident.md: the commands that the incident is played by, and what they say."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/incident.md"
_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PROMPT = "$ "
_PUT = {
    "pr": r"\bpr-[0-9a-z]{8}\b",
    "eg": r"\beg-[0-9a-z]{8}\b",
    "token": r"--plan-token \S+",
    "rate": r"--rate \S+",
}
# What is another each time, whoever plays it.
_VARIES = (
    (r"--plan-token \S+", "--plan-token TOKEN"),
    (r"\bis (SCHEDULED|RUNNING|COMPLETED)\b.*", "is on its way"),
    (r"\S+:\d+:[0-9a-f]{6}\b", "DISPATCHER"),
    (r"\b(pr|eg|op|ba)-[0-9a-z]{8}\b", r"\1-ID"),
    (r"\d{4}-\d\d-\d\dT?[\d:. ]*(Z|\+00:00)?", "TIME"),
    (r"\b\d[\d,.]*(ms|s|min|h|m|d)\b( \d+(s|min|m|h)\b)*", "AGE"),
    (r"\d[\d,.]*(\+| or more)?", "N"),
    (r" +", " "),
)


@dataclass(frozen=True)
class Line:
    """A command of the page, and what the page has it say."""

    command: str
    output: str


def _lines(block: str) -> list[Line]:
    parts = block.split(f"\n{_PROMPT}")
    parts[0] = parts[0].removeprefix(_PROMPT)
    found = []
    for part in parts:
        command, _, output = part.partition("\n")
        found.append(Line(command, output.rstrip("\n")))
    return found


def read_page() -> list[Line]:
    """Return the commands of the page in their order."""
    return [line for block in _BLOCK.findall(PAGE.read_text()) for line in _lines(block)]


def write_page(played: list[Line]) -> None:
    """Put what was played in the place of the page's commands and what they say."""
    left = iter(played)

    def replaced(block: re.Match[str]) -> str:
        shown = [next(left) for _ in _lines(block.group(1))]
        told = "".join(f"{_PROMPT}{line.command}\n{line.output}\n" for line in shown)
        return f"```console\n{told}```"

    PAGE.write_text(_BLOCK.sub(replaced, PAGE.read_text()))


def shape_of(output: str) -> str:
    """Return an output without what varies: ids, times, ages, numbers, the widths of columns."""
    for pattern, name in _VARIES:
        output = re.sub(pattern, name, output)
    return "\n".join(line.rstrip() for line in output.splitlines())


def known_by(learned: dict[str, str]) -> Callable[[str], str]:
    """Return what puts the ids, tokens and rate of this play in the place of the page's."""

    def put(command: str) -> str:
        for kind, value in learned.items():
            command = re.sub(_PUT[kind], value, command)
        return command

    return put


def learn(learned: dict[str, str], output: str) -> None:
    """Note the ids and the token that a command told of; those of a rule and a group, the first."""
    for kind in ("pr", "eg"):
        found = re.search(_PUT[kind], output)
        if found is not None:
            learned.setdefault(kind, found.group())
    if token := re.search(_PUT["token"], output):
        learned["token"] = token.group()
