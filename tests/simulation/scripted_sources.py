"""Sources that follow a script: plain async generators with pieces, pauses, failures and hangs."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any, TypeGuard

from l0actors import L0Event

HANG = "(hang)"
"""A step that never ends."""

TURN = "(turn)"
"""A step that gives the loop one turn."""

DEAF = "(deaf)"
"""A step that swallows two cancellations before it listens to the third."""

Step = str | float | BaseException | L0Event
Script = Sequence[Step]


class Scripted:
    """A source's factory: its n-th attempt plays the n-th script, and the last one from then on.

    Attributes:
        begun: how many streams were begun.
        closed: how many of them have ended, in whatever way.
        played: the script that was begun last.
        faults: how often each kind of fault was played.
    """

    def __init__(self, *scripts: Script, slow_open: Script = (), close_s: float = 0.0) -> None:
        self._scripts = scripts
        self._slow_open = slow_open
        self._close_s = close_s
        self._calls = 0
        self.played: Script = ()
        self.begun = 0
        self.closed = 0
        self.faults: Counter[str] = Counter()

    async def __call__(self) -> AsyncIterator[Any]:
        script = self.played = self._scripts[min(self._calls, len(self._scripts) - 1)]
        self._calls += 1
        for step in self._slow_open:
            await self._wait(step)
        return self._play(script)

    async def _play(self, script: Script) -> AsyncIterator[Any]:
        self.begun += 1
        try:
            for step in script:
                if isinstance(step, L0Event) or is_text(step):
                    yield step
                else:
                    await self._wait(step)
        finally:
            self.closed += 1
            if self._close_s:
                await asyncio.sleep(self._close_s)

    async def _wait(self, step: Step) -> None:
        if isinstance(step, BaseException):
            self.faults[type(step).__name__] += 1
            raise type(step)(*step.args)
        if step in (HANG, DEAF):
            self.faults[str(step)] += 1
            await self._hang(2 if step == DEAF else 0)
        else:
            await asyncio.sleep(step if isinstance(step, (int, float)) else 0)

    async def _hang(self, deaf: int) -> None:
        for _ in range(deaf):
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.get_running_loop().create_future()
        await asyncio.get_running_loop().create_future()

    def check_closed(self) -> None:
        """Fail unless every stream that was begun was closed, once."""
        assert self.closed == self.begun, f"{self.begun} streams were begun and {self.closed} closed"


def is_text(step: Step) -> TypeGuard[str]:
    """Return whether a step is a piece of text."""
    return isinstance(step, str) and step not in (HANG, TURN, DEAF)


def whole(steps: Script) -> str:
    """Return the text of a script."""
    return "".join(filter(is_text, steps))


def cut(script: Script, at: int, *ending: Any) -> list[Step]:
    """Return the script's first `at` steps and then `ending`."""
    return [*script[:at], *ending]
