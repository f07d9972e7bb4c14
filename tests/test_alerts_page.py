"""docs/alerts.md tells of each alert that is shipped, and of no other."""

from __future__ import annotations

import re
from pathlib import Path

import asyncpg
from shipped.files import check_command

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/alerts.md").read_text()
RULES = (ROOT / "deploy/prometheus/alerts.yml").read_text()


def test_each_alert_has_a_row_with_a_first_thing_to_do_in_the_order_of_the_file() -> None:
    rows = re.findall(r"^\| (Zart\w+) \|(.*)\|(.*)\|(.*)\|$", PAGE, re.MULTILINE)
    names = re.findall(r"alert: (\w+)", RULES)

    assert [name for name, *_ in rows] == names
    assert set(re.findall(r"\bZart[A-Z]\w+", PAGE)) == set(names)
    assert all(cell.strip() for row in rows for cell in row)


def test_commands_that_it_names_are_there() -> None:
    commands = re.findall(r"`zart ([^`]+)`", PAGE)

    assert len(commands) > 10
    for command in commands:
        check_command(command.split())


async def test_the_sessions_are_seen_by_its_command(db: asyncpg.Connection[asyncpg.Record]) -> None:
    query = re.search(r'--command "([^"]*)"', PAGE)

    assert query is not None
    rows = await db.fetch(query[1])
    assert await db.fetchval("SELECT pg_backend_pid()") in [row["pid"] for row in rows]
