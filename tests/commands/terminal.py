"""A person at a terminal: a process in a real pseudo terminal of its own, whose screen can be read and typed at."""

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time

from tests.commands.run_hicra import ROOT, clean_environment

DEADLINE_S = 30.0
_STYLE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Terminal:
    """Runs `python ARGUMENTS` as the leader of a session whose terminal this is."""

    def __init__(self, *arguments, columns=80, lines=24, cwd=ROOT, **environment):
        self.pid, self._master = pty.fork()
        if self.pid == 0:
            os.chdir(cwd)
            environment = {"TERM": "xterm-256color", "COLUMNS": "", "LINES": "", **environment}
            os.execve(sys.executable, [sys.executable, *map(str, arguments)], clean_environment(**environment))
        self.written = ""
        self.resize(columns, lines)

    def resize(self, columns, lines):
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def type(self, keys):
        os.write(self._master, keys.encode())

    @property
    def screen(self):
        """The lines of the last whole frame, without styles."""
        return [_STYLE.sub("", line).rstrip() for line in self.written.rpartition("\x1b[H")[2].split("\r\n")]

    @property
    def text(self):
        return "\n".join(self.screen)

    def wait_for(self, *wanted, absent=()):
        """Read until the last frame shows every text wanted, and none that should be absent; fail after a while."""
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            done = "\x1b[J" in self.written.rpartition("\x1b[H")[2]
            if done and all(each in self.text for each in wanted) and not any(each in self.text for each in absent):
                return self.text
            if not self._read(0.5) and self._has_ended():
                break
        raise AssertionError(f"no {wanted} on the screen:\n{self.text}\n---\n{self.written[-2000:]!r}")

    def wait_for_written(self, wanted, times=1):
        """Read until `wanted` was written that many times."""
        deadline = time.monotonic() + DEADLINE_S
        while self.written.count(wanted) < times and time.monotonic() < deadline:
            self._read(0.5)
        assert self.written.count(wanted) >= times

    def mode(self):
        """(line mode, echo) of the terminal."""
        flags = termios.tcgetattr(self._master)[3]
        return bool(flags & termios.ICANON), bool(flags & termios.ECHO)

    def kill(self, number=signal.SIGKILL):
        os.kill(self.pid, number)

    def wait(self):
        """The exit code, negative for a signal."""
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            self._read(0.1)
            found, status = os.waitpid(self.pid, os.WNOHANG)
            if found:
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
        raise AssertionError(f"the process does not end:\n{self.text}")

    def wait_until_stopped(self):
        found, status = os.waitpid(self.pid, os.WUNTRACED)
        assert found == self.pid
        assert os.WIFSTOPPED(status)
        self._read(0.2)

    def close(self):
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._master)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _read(self, wait_s):
        if not select.select([self._master], [], [], wait_s)[0]:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:
            return False
        self.written += data.decode("utf-8", "replace")
        return bool(data)

    def _has_ended(self):
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
