"""Coroutines run from plain code, from a notebook and from a thread; signals stop them and handlers come back."""

import asyncio
import os
import signal
import threading

import pytest

from hicra_cli.grams.annotators.loops import run_to_end


def test_work_runs_from_plain_code_a_running_loop_and_a_thread():
    done: list[str] = []

    async def work(name: str) -> None:
        await asyncio.sleep(0)
        done.append(name)

    async def notebook() -> None:
        run_to_end(work("notebook"))

    run_to_end(work("plain"))
    asyncio.run(notebook())
    thread = threading.Thread(target=lambda: run_to_end(work("thread")))
    thread.start()
    thread.join()
    assert done == ["plain", "notebook", "thread"]


def test_an_error_of_the_work_is_raised_and_the_handlers_are_as_before():
    async def work() -> None:
        raise ValueError("of the work")

    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(ValueError, match="of the work"):
        run_to_end(work())
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_signal_cancels_the_work_cleans_up_and_then_reaches_the_handler_of_before():
    events: list[str] = []

    def handler(number: int, frame: object) -> None:
        events.append(f"handler of {signal.Signals(number).name}")

    async def work() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            await asyncio.sleep(60)
        finally:
            events.append("cleaned up")

    before = signal.signal(signal.SIGTERM, handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_to_end(work())
        assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, before)
    assert events == ["cleaned up", "handler of SIGTERM"]
