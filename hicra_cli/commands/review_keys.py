"""Single keys from a terminal, without Enter; the terminal is given back as it was, however this ends.

Left to the kernel: Ctrl-C is SIGINT as ever. Ctrl-Z gives the terminal back, stops, and goes on after `fg`. Pasted text
arrives in one piece, so that it cannot press keys.
"""

import codecs
import os
import re
import select
import signal
import termios
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any, Self

ESCAPE_WAIT_S = 0.05  # the rest of an arrow key's sequence is there by then, over slow lines too
PASTE_WAIT_S = 1.0

_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|O[A-Za-z])")
_UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|O)?")
_PASTE_BEGIN, _PASTE_END = "\x1b[200~", "\x1b[201~"
_NAMES = {
    "A": "up", "B": "down", "C": "right", "D": "left", "H": "home", "F": "end",
    "5~": "page-up", "6~": "page-down", "1~": "home", "4~": "end", "7~": "home", "8~": "end",
}  # fmt: skip
_CONTROLS = {
    "\r": "enter", "\n": "enter", "\x7f": "backspace", "\x08": "backspace", "\x04": "end-of-input",
    "\x15": "clear", "\x17": "clear-word", "\x0c": "redraw",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Key:
    """A key by name, or `text` with its character, or `paste` with what was pasted. `other`: one without a name here.

    redraw: the window has changed, or the process was stopped and goes on. end-of-input: the terminal is gone.
    """

    name: str
    text: str = ""


class Keyboard:
    """The keys of the terminal `descriptor` while entered. on_stop, on_go_on: around a stop by Ctrl-Z.

    Works in the main thread only, which alone may handle signals.
    """

    def __init__(self, descriptor: int, *, on_stop: Callable[[], None], on_go_on: Callable[[], None]) -> None:
        self._descriptor = descriptor
        self._on_stop, self._on_go_on = on_stop, on_go_on
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._waiting = ""
        self._handlers: dict[int, Any] = {}
        self._wake: tuple[int, int] | None = None

    def __enter__(self) -> Self:
        self._before = termios.tcgetattr(self._descriptor)
        self._wake = os.pipe()
        for end in self._wake:
            os.set_blocking(end, False)
        try:
            self._listen()
            for number, handler in (
                (signal.SIGTSTP, self._stop),
                (signal.SIGCONT, self._go_on),
                (signal.SIGWINCH, self._resized),
            ):
                self._handlers[number] = signal.signal(number, handler)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}
        with suppress(termios.error):  # the terminal is gone: there is nothing to give back
            # Keys that nobody has read must not become a command of the shell: they are dropped.
            termios.tcsetattr(self._descriptor, termios.TCSAFLUSH, self._before)
        for end in self._wake or ():
            os.close(end)
        self._wake = None

    def read(self) -> Key:
        """The next key; waits for it."""
        while True:
            while self._waiting:
                if key := self._next_waiting():
                    return key
            assert self._wake is not None
            ready, _, _ = select.select([self._descriptor, self._wake[0]], [], [])
            if self._wake[0] in ready:
                with suppress(BlockingIOError):
                    os.read(self._wake[0], 1024)
                return Key("redraw")
            if not self._fill():
                return Key("end-of-input")

    def _next_waiting(self) -> Key | None:
        """The first key of what was read; None where it is unknown and passed over."""
        if self._waiting.startswith("\x1b"):
            return self._sequence()
        character, self._waiting = self._waiting[0], self._waiting[1:]
        if character in _CONTROLS:
            return Key(_CONTROLS[character])
        return Key("text", character) if character.isprintable() else None

    def _sequence(self) -> Key | None:
        while _UNFINISHED.fullmatch(self._waiting) and self._fill(ESCAPE_WAIT_S):
            pass
        found = _SEQUENCE.match(self._waiting)
        if found is None:
            alone = len(self._waiting) == 1 or self._waiting.startswith("\x1b\x1b")
            self._waiting = self._waiting[1 if alone else 2 :]  # Alt with a key is no key here
            return Key("escape") if alone else None
        if found[0] == _PASTE_BEGIN:
            return self._pasted()
        self._waiting = self._waiting[found.end() :]
        return Key(_NAMES.get(found[0][2:], "other"))

    def _pasted(self) -> Key:
        while _PASTE_END not in self._waiting and self._fill(PASTE_WAIT_S):
            pass
        text, _, self._waiting = self._waiting[len(_PASTE_BEGIN) :].partition(_PASTE_END)
        return Key("paste", text)

    def _fill(self, wait_s: float | None = None) -> bool:
        """Read what there is; False at the end of input, or where nothing came within `wait_s`."""
        if wait_s is not None and not select.select([self._descriptor], [], [], wait_s)[0]:
            return False
        try:
            data = os.read(self._descriptor, 4096)
        except OSError:  # EIO: the terminal was closed
            return False
        self._waiting += self._decoder.decode(data)
        return bool(data)

    def _listen(self) -> None:
        """Keys at once and unseen; no Ctrl-S that seems to freeze; signals as they were.

        What was typed before is dropped: it cannot have been meant for a question that was not on the screen.
        """
        mode = termios.tcgetattr(self._descriptor)
        mode[0] &= ~termios.IXON
        mode[3] &= ~(termios.ICANON | termios.ECHO)
        mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
        termios.tcsetattr(self._descriptor, termios.TCSAFLUSH, mode)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._on_stop()
        termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)  # here the process stands still until `fg`
        signal.signal(signal.SIGTSTP, self._stop)
        self._go_on(number, frame)

    def _go_on(self, number: int, frame: FrameType | None) -> None:
        self._listen()
        self._on_go_on()
        self._resized(number, frame)

    def _resized(self, number: int, frame: FrameType | None) -> None:
        if self._wake is not None:
            with suppress(BlockingIOError):
                os.write(self._wake[1], b"r")
