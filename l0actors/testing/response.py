"""Sends one response, step by step: its head, its events, and each fault where it strikes."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from l0actors.testing.connection import Connection
from l0actors.testing.faults import (
    Close,
    Cut,
    Duplicate,
    ErrorEvent,
    Fault,
    Layer,
    Repeat,
    Reset,
    Send,
    Stall,
)
from l0actors.testing.frame import Frame
from l0actors.testing.http1 import head
from l0actors.testing.reply import Encoding

Step = Frame | Fault
"""Either an event to send or a fault to strike."""


@dataclass(frozen=True)
class Response:
    """Everything that is known before the first byte goes out.

    Attributes:
        status: The HTTP status.
        headers: The headers that are not about the framing.
        frames: The body, cut into events; one frame if it is no event stream.
        faults: What goes wrong.
        encoding: How the body is written; None is a body of known length.
        delay_ms: Time before the first byte.
        token_delay_ms: Time before each token.
        keep_alive: False if the connection is to be closed afterwards.
        error: Renders an error event; the argument counts the events sent before it.
    """

    status: int
    headers: dict[str, str]
    frames: Sequence[Frame]
    faults: Sequence[Fault]
    encoding: Encoding | None
    delay_ms: float
    token_delay_ms: float
    keep_alive: bool
    error: Callable[[ErrorEvent, int], bytes]


def arrange(frames: Sequence[Frame], faults: Sequence[Fault]) -> list[Step]:
    """Put each fault where it strikes, cutting the frame that it falls into."""
    pending = sorted(((offset(frames, fault), fault) for fault in faults), key=itemgetter(0))
    steps: list[Step] = []
    start = 0
    for frame in frames:
        sent = 0
        while pending and pending[0][0] <= start + len(frame.data):
            place, fault = pending.pop(0)
            steps.append(Frame(frame.data[sent : place - start], frame.mark))
            steps.append(frame if isinstance(fault, Duplicate) else fault)
            sent = place - start
        steps.append(Frame(frame.data[sent:], frame.mark))
        start += len(frame.data)
    steps += [fault for _, fault in pending]
    return [step for step in steps if isinstance(step, Fault) or step.data]


def offset(frames: Sequence[Frame], fault: Fault) -> int:
    """Return how many bytes of the body go out before the fault strikes."""
    total = sum(len(frame.data) for frame in frames)
    if fault.at == "end":
        return total
    if fault.at == "finish":
        return _after(frames, "finish", 1)
    start = _after(frames, "token", fault.after_tokens) if fault.after_tokens else 0
    return min(start + (fault.after_bytes or 0), total)


def _after(frames: Sequence[Frame], mark: str, count: int) -> int:
    """Return where the `count`-th frame with this mark ends, or the last one there is."""
    sent = end = 0
    for frame in frames:
        sent += len(frame.data)
        if frame.mark == mark and count > 0:
            end, count = sent, count - 1
    return end or sent


class Transmission:
    """Sends one response over a connection.

    Args:
        connection: Where to.
        response: What.
        stall: Waits until the provider releases its stalled responses, or for so many milliseconds.
    """

    def __init__(
        self,
        connection: Connection,
        response: Response,
        stall: Callable[[float | None], Coroutine[Any, Any, None]],
    ) -> None:
        self._connection = connection
        self._response = response
        self._stall = stall
        self._encoding = response.encoding
        self._gzip = zlib.compressobj(wbits=31) if self._encoding and self._encoding.gzip else None
        self._events = 0
        self._pace = response.token_delay_ms / 1000

    async def run(self) -> bool:
        """Send everything; tell whether the connection may serve another request."""
        response = self._response
        early = [fault for fault in response.faults if fault.at == "start"]
        late = [fault for fault in response.faults if fault.at != "start"]
        if response.delay_ms:
            await asyncio.sleep(response.delay_ms / 1000)
        for fault in early:
            if await self._strike_early(fault):
                return False
        await self._connection.write(self._head())
        for step in arrange(response.frames, late):
            if isinstance(step, Frame):
                await self._frame(step)
            elif await self._strike(step):
                return isinstance(step, (Cut, ErrorEvent)) and self._encoding is not None and self._reusable
        await self._end()
        return self._reusable

    @property
    def _reusable(self) -> bool:
        return self._response.keep_alive and (self._encoding is None or self._encoding.chunked)

    def _head(self) -> bytes:
        framing: dict[str, str] = {}
        if self._encoding is None:
            framing["content-length"] = str(sum(len(frame.data) for frame in self._response.frames))
        elif self._encoding.chunked:
            framing["transfer-encoding"] = "chunked"
        if self._gzip is not None:
            framing["content-encoding"] = "gzip"
        if not self._reusable:
            framing["connection"] = "close"
        return head(self._response.status, framing | self._response.headers)

    async def _frame(self, frame: Frame) -> None:
        if frame.mark == "token" and self._pace:
            await asyncio.sleep(self._pace)
        self._events += 1
        await self._send(frame.data, "event")

    async def _strike_early(self, fault: Fault) -> bool:
        """Let a fault strike before the head; tell whether the response is over."""
        if isinstance(fault, Send):
            await self._send(fault.data, "socket")
            return False
        if isinstance(fault, Repeat):
            await self._repeat(fault, "socket")
        if isinstance(fault, (Reset, Stall)):
            return await self._strike(fault)
        self._connection.close()
        return True

    async def _strike(self, fault: Fault) -> bool:
        """Let a fault strike; tell whether the response is over."""
        if isinstance(fault, Send):
            await self._send(fault.data, fault.layer)
            return False
        if isinstance(fault, Stall):
            await self._stall(fault.for_ms)
            return False
        if isinstance(fault, Repeat):
            await self._repeat(fault, "event")
        if isinstance(fault, ErrorEvent):
            await self._send(self._response.error(fault, self._events), "event")
            await self._end()
        elif isinstance(fault, Reset):
            self._connection.reset()
        elif isinstance(fault, Close):
            self._connection.close()
        else:
            await self._terminate()
        return True

    async def _repeat(self, fault: Repeat, layer: Layer) -> None:
        while True:
            await self._send(fault.data, layer)
            await asyncio.sleep(fault.every_ms / 1000)

    async def _send(self, data: bytes, layer: Layer) -> None:
        if layer == "event" and self._gzip is not None:
            data = self._gzip.compress(data) + self._gzip.flush(zlib.Z_SYNC_FLUSH)
        size = self._encoding.piece_bytes if self._encoding and layer != "socket" else None
        for piece in _cut(data, size):
            await self._connection.write(self._framed(piece, layer))

    def _framed(self, data: bytes, layer: Layer) -> bytes:
        if layer == "socket" or self._encoding is None or not self._encoding.chunked:
            return data
        return b"%x\r\n%b\r\n" % (len(data), data)

    async def _end(self) -> None:
        """End a whole body."""
        if self._gzip is not None:
            await self._send(self._gzip.flush(), "body")
        await self._terminate()

    async def _terminate(self) -> None:
        """End the HTTP message, whatever the body lacks."""
        if self._encoding is not None and self._encoding.chunked:
            await self._connection.write(b"0\r\n\r\n")


def _cut(data: bytes, size: int | None) -> list[bytes]:
    step = size or len(data) or 1
    return [data[i : i + step] for i in range(0, len(data), step)]
