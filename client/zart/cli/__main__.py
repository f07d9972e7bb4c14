"""``python -m zart.cli``: the ``zart`` command, also where no script was installed."""

from __future__ import annotations

import sys

from zart.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
