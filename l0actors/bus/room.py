"""The room in a mailbox: who holds a slot that is not filled yet, and who waits for one."""

import asyncio
from collections import deque
from contextlib import suppress


class Room:
    """Slots for ordinary messages, given out first come, first served.

    Attributes:
        limit: the capacity, less the slots that are held.
        line: those who wait.
        waking: how many were given their slot and have not run since. A newcomer that finds a free
            slot meanwhile must wait as well, or it would overtake them.
    """

    __slots__ = ("limit", "line", "waking")

    def __init__(self, capacity: int) -> None:
        self.limit = capacity
        self.line: deque[asyncio.Future[bool]] = deque()
        self.waking = 0

    async def wait(self) -> bool:
        """Wait for a slot at the end of the line. Return whether it is held: not if all were let go.

        Cancelled, it holds none. Either way others may have their turn now: call `grant`.
        """
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.line.append(turn)
        try:
            held = await turn
        except BaseException:
            self._leave(turn)
            raise
        self.waking -= held
        return held

    def grant(self, filled: int) -> None:
        """Give those in front what is free when `filled` slots are in use."""
        while self.line and filled < self.limit:
            turn = self.line.popleft()
            if not turn.done():
                self.limit -= 1
                self.waking += 1
                turn.set_result(True)

    def let_all_go(self) -> None:
        """Wake all who wait, with nothing."""
        while self.line:
            turn = self.line.popleft()
            if not turn.done():
                turn.set_result(False)

    def _leave(self, turn: "asyncio.Future[bool]") -> None:
        if turn.done() and not turn.cancelled() and turn.result():
            self.limit += 1
            self.waking -= 1
        with suppress(ValueError):
            self.line.remove(turn)
