"""The ready queue of a simulated loop: it chooses who runs next."""

import asyncio
from collections import deque
from collections.abc import Callable
from random import Random


class ReadyQueue(deque[asyncio.Handle]):
    """What is ready to run, given out in a seeded order.

    As in asyncio, a turn of the loop runs all that was ready when the turn began, and nothing that became
    ready meanwhile. Within a turn the tasks, the timers that are due and the plain callbacks come in any
    order, but the steps of one task keep theirs, and so do the plain callbacks among themselves.

    Args:
        rng: chooses; None for the order of asyncio.
        on_step: called with each handle before it runs.
    """

    def __init__(self, rng: Random | None, on_step: Callable[[asyncio.Handle], None]) -> None:
        super().__init__()
        self._rng = rng
        self._on_step = on_step
        self._left = 0

    def begin_turn(self) -> None:
        """Note that what is ready when the next handle is taken makes up a turn."""
        self._left = 0

    def keep_order(self) -> None:
        """Choose no more: from now on the order is that of asyncio."""
        self._rng = None

    def popleft(self) -> asyncio.Handle:
        """Take out the handle that runs next."""
        if self._left == 0:
            self._left = len(self)
        index = self._choose() if self._rng is not None and self._left > 1 else 0
        self._left -= 1
        handle = self[index]
        del self[index]
        if not handle.cancelled():
            self._on_step(handle)
        return handle

    def _choose(self) -> int:
        assert self._rng is not None
        heads: dict[object, int] = {}
        for index in range(self._left):
            heads.setdefault(_lane(self[index]), index)
        return self._rng.choice(list(heads.values()))


def task_of(handle: asyncio.Handle) -> "asyncio.Task[object] | None":
    """Return the task whose step `handle` is; None for a plain callback."""
    owner = getattr(getattr(handle, "_callback", None), "__self__", None)
    return owner if isinstance(owner, asyncio.Task) else None


def _lane(handle: asyncio.Handle) -> object:
    if isinstance(handle, asyncio.TimerHandle):
        return id(handle)
    task = task_of(handle)
    return None if task is None else id(task)
