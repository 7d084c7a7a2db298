"""One client's connection: bounded reads, writes that wait for the kernel, and every way to end."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Coroutine
from typing import Any, cast

from l0actors.testing.http1 import MAX_BODY_BYTES, BadRequestError


class Connection(asyncio.Protocol):
    """A connection and the task that serves it.

    The task is cancelled when the client goes away, so a server that stalls notices that at once
    and nothing that serves a client has to look out for it.
    """

    def __init__(
        self,
        opened: Callable[[Connection], None],
        serve: Callable[[Connection], Coroutine[Any, Any, None]],
        closed: Callable[[Connection], None],
    ) -> None:
        self._opened = opened
        self._serve = serve
        self._closed = closed
        self._received = bytearray()
        self._loop = asyncio.get_running_loop()
        self._readable: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport
        self.task: asyncio.Task[None]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the task."""
        self._transport = cast(asyncio.Transport, transport)
        # With a limit of 0 a write is over when the kernel has all of it: a reset loses nothing.
        self._transport.set_write_buffer_limits(high=0)
        self._opened(self)
        self.task = self._loop.create_task(self._serve(self))

    def data_received(self, data: bytes) -> None:
        """Keep the bytes; cut off a client that sends more than any request may have."""
        self._received += data
        if len(self._received) > 2 * MAX_BODY_BYTES:
            self.abort()
        _wake(self._readable)

    def eof_received(self) -> None:
        """Treat a half-closed connection as a client that left."""
        self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the task."""
        self.task.cancel()
        self._closed(self)

    def pause_writing(self) -> None:
        """Make `write` wait."""
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        """Let `write` go on."""
        _wake(self._writable)
        self._writable = None

    async def read_until(self, separator: bytes, limit: int) -> bytes:
        """Return the bytes before the separator, which is consumed too.

        Raises:
            BadRequestError: It did not come within `limit` bytes.
        """
        while (end := self._received.find(separator)) < 0 and len(self._received) <= limit:
            await self._more()
        if not 0 <= end <= limit:
            raise BadRequestError(f"no end of the head or line within {limit} bytes", 431)
        return self._take(end, len(separator))

    async def read_exactly(self, count: int) -> bytes:
        """Return that many bytes."""
        while len(self._received) < count:
            await self._more()
        return self._take(count)

    async def write(self, data: bytes) -> None:
        """Send the bytes, and give the event loop a turn."""
        self._transport.write(data)
        if self._writable is not None:
            await self._writable
        await asyncio.sleep(0)

    def close(self) -> None:
        """Close with a FIN, after everything that was written."""
        self._transport.close()

    def reset(self) -> None:
        """Close with an RST."""
        sock = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def abort(self) -> None:
        """Close at once, without sending what is still buffered."""
        self._transport.abort()

    async def _more(self) -> None:
        self._readable = self._loop.create_future()
        await self._readable

    def _take(self, count: int, skip: int = 0) -> bytes:
        data = bytes(self._received[:count])
        del self._received[: count + skip]
        return data


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
