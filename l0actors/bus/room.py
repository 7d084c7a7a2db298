"""The room in a mailbox: who holds a slot that is not filled yet, and who waits for one."""

import asyncio
from collections import deque
from contextlib import suppress


class Room:
    """Slots for ordinary messages, given out first come, first served.

    Attributes:
        limit: the capacity, less the slots that are held.
        line: those who wait. While there are any, the mailbox is filled up to the limit, so that a
            newcomer cannot overtake them.
    """

    __slots__ = ("limit", "line")

    def __init__(self, capacity: int) -> None:
        self.limit = capacity
        self.line: deque[asyncio.Future[bool]] = deque()

    async def wait(self) -> bool:
        """Wait for a slot at the end of the line. Return whether it is held: not if all were let go.

        Cancelled, it holds none; what it was granted meanwhile is free for `grant` again.
        """
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.line.append(turn)
        try:
            return await turn
        except BaseException:
            self._leave(turn)
            raise

    def grant(self, filled: int) -> None:
        """Give those in front what is free when `filled` slots are in use."""
        while self.line and filled < self.limit:
            turn = self.line.popleft()
            if not turn.done():
                self.limit -= 1
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
        with suppress(ValueError):
            self.line.remove(turn)
