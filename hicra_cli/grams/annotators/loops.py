"""Running a coroutine from plain code: in a notebook too, and so that an interrupt finds no hiding place.

A signal handler that raises KeyboardInterrupt does so between any two instructions; inside an event loop these may
belong to code that swallows it, and the run would wait on for its requests. Here a signal cancels the work instead,
and the handler that was in force before is called when the loop has ended.
"""

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run_to_end(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine, also where an event loop is already running. An interrupt raises KeyboardInterrupt."""
    if _loop_is_running():
        with ThreadPoolExecutor(1) as pool:
            pool.submit(asyncio.run, work).result()
        return
    if threading.current_thread() is not threading.main_thread():
        asyncio.run(work)
        return
    before = {each: handler for each in SIGNALS if callable(handler := signal.getsignal(each))}
    stopped: list[int] = []
    try:
        asyncio.run(_stoppable(work, before, stopped))
    except asyncio.CancelledError:
        if not stopped:
            raise
    if stopped:
        before[signal.Signals(stopped[0])](stopped[0], None)
        raise KeyboardInterrupt


async def _stoppable(
    work: Coroutine[Any, Any, None], before: dict[signal.Signals, Callable[..., Any]], stopped: list[int]
) -> None:
    """The first signal cancels the work; a second one goes to the handler that was in force before."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def restore() -> None:
        for each, handler in before.items():
            loop.remove_signal_handler(each)
            signal.signal(each, handler)

    def stop(number: int) -> None:
        stopped.append(number)
        restore()
        if task is not None:
            task.cancel()

    try:
        for each in before:
            loop.add_signal_handler(each, stop, each)
    except NotImplementedError:  # Windows: asyncio's own handling must do
        await work
        return
    try:
        await work
    finally:
        restore()


def _loop_is_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
