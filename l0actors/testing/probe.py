"""A sink for tests: it keeps what it gets, and waits for what should come."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from l0actors.actors.actor import Actor
from l0actors.bus.messages import Message

M = TypeVar("M", bound=Message)


class Probe(Actor):
    """Takes the messages that it was made for, and hands them out one after the other.

        probe = Probe(SessionStarted, SessionEnded)
        system.attach(probe)
        ...
        await probe.expect(SessionStarted)
        done = await probe.expect(SessionCompleted, timeout_ms=5000)

    Restarted it keeps what it has. One task at a time may wait for it.

    Args:
        *types: message types or base classes; without any, every message.

    Attributes:
        seen: every message so far, also those that were handed out.
    """

    def __init__(self, *types: Any) -> None:
        self.subscribes = types or (Message,)  # type: ignore[misc]  # each probe has its own
        self.seen: list[Message] = []
        self._next: deque[Message] = deque()
        self._waiter: asyncio.Future[None] | None = None

    async def receive(self, message: Message) -> None:
        """Keep `message`, and wake whoever waits for it."""
        self.seen.append(message)
        self._next.append(message)
        self._wake()

    async def expect(
        self, kind: type[M], *, timeout_ms: float = 1000, where: Callable[[M], bool] | None = None
    ) -> M:
        """Return the next message, which must be a `kind` that satisfies `where`.

        Raises:
            AssertionError: it is another one, or none comes within `timeout_ms`.
        """
        message = await self._take(timeout_ms)
        if message is None:
            raise AssertionError(f"no {kind.__name__} within {timeout_ms:g} ms; {self._story()}")
        if not isinstance(message, kind):
            raise AssertionError(f"expected {kind.__name__}, got {message!r}; {self._story()}")
        if where is not None and not where(message):
            raise AssertionError(f"{message!r} is not the {kind.__name__} that was expected; {self._story()}")
        return message

    async def expect_nothing(self, ms: float) -> None:
        """Let `ms` milliseconds pass.

        Raises:
            AssertionError: a message came meanwhile, or was there already.
        """
        message = await self._take(ms)
        if message is not None:
            raise AssertionError(f"expected nothing for {ms:g} ms, got {message!r}; {self._story()}")

    async def fish(self, predicate: Callable[[Message], bool], *, timeout_ms: float = 1000) -> Message:
        """Return the next message that satisfies `predicate`; those before it are let go.

        Raises:
            AssertionError: none comes within `timeout_ms`.
        """
        deadline = asyncio.get_running_loop().time() + timeout_ms / 1000
        while True:
            left_ms = (deadline - asyncio.get_running_loop().time()) * 1000
            message = await self._take(max(left_ms, 0))
            if message is None:
                raise AssertionError(f"nothing to fish for within {timeout_ms:g} ms; {self._story()}")
            if predicate(message):
                return message

    async def _take(self, timeout_ms: float) -> Message | None:
        if not self._next:
            await self._wait(timeout_ms)
        return self._next.popleft() if self._next else None

    async def _wait(self, timeout_ms: float) -> None:
        if self._waiter is not None:
            raise RuntimeError("two tasks wait for one probe")
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = loop.call_later(timeout_ms / 1000, self._wake)
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _story(self) -> str:
        if not self.seen:
            return "it has seen nothing"
        return f"it has seen {', '.join(type(message).__name__ for message in self.seen)}"
