"""The look at a database's schema says what Alembic would, and loads nothing of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory

import zart_server.store
from zart_server.store.schema import known_versions


def test_the_versions_that_files_name_are_those_of_alembic() -> None:
    config = Config()
    migrations = Path(zart_server.store.__file__).parent / "migrations"
    config.set_main_option("script_location", str(migrations))
    config.set_main_option("path_separator", "os")
    scripts = ScriptDirectory.from_config(config)

    in_order = [each.revision for each in scripts.walk_revisions()][::-1]

    assert known_versions() == tuple(in_order)
    assert known_versions()[-1] == scripts.get_current_head()


def test_a_server_on_the_newest_schema_loads_nothing_that_changes_one() -> None:
    """It takes a fifth as long as all else that is loaded, and 16 MiB of each process."""
    loaded = subprocess.run(
        [sys.executable, "-c", "import zart_server.app, sys; print(*sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()

    assert "zart_server.store.preparing" in loaded
    assert not {"alembic", "mako", "zart_server.store.migrate"} & {*loaded}
