"""The consumer's end of a session: a queue with back-pressure, without a task of its own."""

import asyncio
from collections import deque

from l0actors.events import L0Event


class Outlet:
    """What was released to the consumer and not taken yet.

    The reader puts in, the consumer's own task takes out. Pieces of text lie in the queue in batches
    and become events only when they are taken.

    Attributes:
        limit: how many pieces and events may wait before the reader has to.
        buffered: how many wait; a batch counts until its last piece was taken.
        ended: nothing more will come.
        error: what the consumer is told at the end; None for a good or a quiet end.
        left: the consumer has gone, or the session was aborted: what comes is thrown away.
    """

    __slots__ = ("_hand", "_queue", "_room", "_waiter", "buffered", "ended", "error", "left", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.buffered = 0
        self.ended = False
        self.error: Exception | None = None
        self.left = False
        self._queue: deque[tuple[float, list[str]] | L0Event] = deque()
        self._hand: list[str] = []
        self._waiter: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None

    # the reader's side

    def give(self, ts: float, texts: list[str]) -> None:
        """Release pieces of text, received at `ts`. The list belongs to the outlet from now on."""
        if texts and not self.left and not self.ended:
            self._queue.append((ts, texts))
            self.buffered += len(texts)
            self.wake()

    def say(self, event: L0Event) -> None:
        """Release an event that is no text."""
        if not self.left and not self.ended:
            self._queue.append(event)
            self.buffered += 1
            self.wake()

    def wake(self) -> None:
        """Let the consumer look."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    @property
    def full(self) -> bool:
        """Whether the reader has to wait."""
        return self.buffered >= self.limit and not self.left

    async def room(self) -> None:
        """Wait until the consumer has taken half of what is there, or has left."""
        while self.full:
            self._room = room = asyncio.get_running_loop().create_future()
            try:
                await room
            finally:
                self._room = None if self._room is room else self._room

    def end(self, error: Exception | None = None) -> None:
        """Say that nothing more will come. The first end counts."""
        if not self.ended:
            self.ended = True
            self.error = error
            self.wake()

    # the consumer's side

    def leave(self) -> None:
        """Throw away what waits and what will come: at once, even in the middle of a batch."""
        self.left = True
        self._queue.clear()
        self._hand.clear()
        self.buffered = 0
        self._make_room()
        self.wake()

    async def next(self) -> tuple[float, list[str]] | L0Event | None:
        """Wait for what is released next: pieces and when they were received, or an event; None at the end.

        Pieces stay in the outlet's hand, so that `leave` can take them away; say `took` after the last.
        """
        while not self._queue:
            if self.ended or self.left:
                return None
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        item = self._queue.popleft()
        if type(item) is tuple:
            self._hand = item[1]
        return item

    def took(self, count: int) -> None:
        """Note that the consumer has taken so many pieces or events, and let the reader go on."""
        if self.left:
            return
        self.buffered -= count
        if self._room is not None and self.buffered * 2 <= self.limit:
            self._make_room()

    def _make_room(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
