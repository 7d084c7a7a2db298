"""Runs a test in virtual time: a timeout or a pause costs nothing, and nothing may be left behind.

    @in_virtual_time
    async def test_it() -> None:
        await asyncio.sleep(3600)   # returns at once

    def test_it_as_well() -> None:
        run(scenario())

When nothing is ready, the loop's clock jumps to its next timer. Work in threads is not waited for
unless there is no timer, so do not mix the two.
"""

import asyncio
import functools
import gc
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

THREAD_GRACE_S = 1.0
"""How long, in real time, a loop without timers waits for a thread or a socket before it is a deadlock."""


class Deadlock(RuntimeError):
    """Nothing is ready, no timer is set, and nothing comes from outside: the test would hang."""


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is None:
            ready = super().select(THREAD_GRACE_S)
            if not ready:
                raise Deadlock("nothing is ready, and no timer is set")
            return ready
        self.now += timeout
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock starts at 0 and moves only when everybody waits.

    Attributes:
        reports: what its exception handler was called with.
    """

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)
        self.reports: list[dict[str, Any]] = []
        self.set_exception_handler(lambda _, report: self.reports.append(report))

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._jumping.now

    def pending_timers(self) -> list[asyncio.TimerHandle]:
        """Return the timers that are set and not cancelled."""
        return [timer for timer in self._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]


def run(scenario: Coroutine[Any, Any, T], *, clean: bool = True) -> T:
    """Run `scenario` in virtual time and return its result.

    Raises:
        AssertionError: an exception went unseen (the loop's exception handler was called), or, if
            `clean`, a task or a timer is left.
        Deadlock: everybody waits for somebody else.
    """
    loop = VirtualTimeLoop()
    try:
        result = loop.run_until_complete(scenario)
        left = [*asyncio.all_tasks(loop), *loop.pending_timers()] if clean else []
    finally:
        _tear_down(loop)
    assert not left, f"left behind: {left}"
    assert not loop.reports, f"unseen: {loop.reports}"
    return result


def in_virtual_time(test: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """Make a plain test of an async one: it is `run`."""

    @functools.wraps(test)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        return run(test(*args, **kwargs))

    return wrapper


def _tear_down(loop: VirtualTimeLoop) -> None:
    try:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.wait(tasks, timeout=60))
        loop.run_until_complete(loop.shutdown_asyncgens())
        del tasks
        gc.collect()  # what was never retrieved is reported now
    finally:
        loop.close()
