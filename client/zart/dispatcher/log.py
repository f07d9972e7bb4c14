"""The dispatcher's way to log: a line that cannot be logged fails nothing that it is about."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from zart.log_lines import tell_unwritten


class Log:
    """The logger of a module. Nothing here raises, whatever this process logs with.

    Of ``extra`` a line gets what it has not by itself: a program's own factory of lines may have
    set a field of that name.
    """

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def info(self, told: str, *of: object, extra: Mapping[str, object] | None = None) -> None:
        """Log what goes as it should."""
        self._write(logging.INFO, told, of, extra or {})

    def warning(self, told: str, *of: object, extra: Mapping[str, object] | None = None) -> None:
        """Log what somebody may have to look at."""
        self._write(logging.WARNING, told, of, extra or {})

    def error(self, told: str, *of: object, extra: Mapping[str, object] | None = None) -> None:
        """Log what should not be."""
        self._write(logging.ERROR, told, of, extra or {})

    def _write(
        self, level: int, told: str, of: tuple[object, ...], extra: Mapping[str, object]
    ) -> None:
        try:
            if not self._logger.isEnabledFor(level):
                return
            # The third of ours: whoever has called one of the methods above.
            file, line, function, _ = self._logger.findCaller(stacklevel=3)
            name = self._logger.name
            record = self._logger.makeRecord(name, level, file, line, told, of, None, function)
            own = vars(record)
            own.update({field: value for field, value in extra.items() if field not in own})
            self._logger.handle(record)
        except Exception as error:  # noqa: BLE001 - of whatever this process logs with
            tell_unwritten(error)
