"""The log file of one command: HOME/logs/<time>-<command>-<pid>.log, with what the terminal is spared.

It holds the command line, the resolved configuration, what libraries log, and the traceback of a failure. Secrets are
struck out wherever they would appear. Lines wait in memory until `open`: a command that only reads, or fails before
there is a home, leaves nothing behind.
"""

import logging
import os
import re
import time
from collections.abc import Iterable
from pathlib import Path


class RunLog:
    """Lines for the file of one command; `open` starts writing them where the home exists."""

    def __init__(self, home: Path, command: str, *, secrets: Iterable[str] = ()) -> None:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        self.path = home / "logs" / f"{stamp}-{command.replace(' ', '-')}-{os.getpid()}.log"
        self._home = home
        self._open = False
        self._waiting: list[str] = []
        keys = sorted((re.escape(each) for each in secrets if len(each) >= 8), key=len, reverse=True)
        self._secrets = re.compile("|".join(keys)) if keys else None

    def open(self) -> None:
        """From now on lines go to the file, the waiting ones first. Without a home nothing happens."""
        self._open = self._home.is_dir()
        self._flush()

    def write(self, text: str) -> None:
        """Add text; a log that cannot be written never stops the work."""
        self._waiting.append(self._secrets.sub("[key]", text) if self._secrets else text)
        self._flush()

    def _flush(self) -> None:
        if not self._open or not self._waiting:
            return
        lines = "".join(f"{line}\n" for line in self._waiting)
        try:
            self.path.parent.mkdir(exist_ok=True)
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with open(descriptor, "a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(lines)
        except OSError:
            return
        self._waiting.clear()


class _Handler(logging.Handler):
    def __init__(self, log: RunLog) -> None:
        super().__init__(level=logging.INFO)
        self._log = log
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self._log.write(self.format(record))


def capture_libraries(log: RunLog) -> None:
    """Send what libraries log, and Python's warnings, to the file instead of the terminal."""
    root = logging.getLogger()
    root.handlers[:] = [_Handler(log)]
    root.setLevel(logging.WARNING)
    logging.captureWarnings(True)
