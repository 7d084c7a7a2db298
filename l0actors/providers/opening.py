"""Opens and closes what a source's factory returned, whatever kind of stream it is."""

import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any

from l0actors.logs import log
from l0actors.providers.failures import invalid, kind_of
from l0actors.providers.threaded import ThreadedStream, is_manager
from l0actors.redaction import describe

_TEXT = (str, bytes, bytearray, memoryview, dict)


class ManagedStream:
    """A stream that came out of an async context manager, which is left when the stream is closed.

    Attributes:
        source: the stream itself.
    """

    def __init__(self, source: Any, manager: Any) -> None:
        self.source = source
        self._manager = manager

    def __aiter__(self) -> AsyncIterator[Any]:
        return iterate(self.source)

    async def aclose(self) -> None:
        """Close the stream, then leave its context manager."""
        manager, self._manager = self._manager, None
        if manager is not None:
            try:
                await _close(self.source)
            finally:
                await manager.__aexit__(None, None, None)


async def enter(opened: Any) -> Any:
    """Return the stream that a factory's result stands for; `close_stream` undoes it.

    An async context manager that is no stream itself (`client.messages.stream(...)`) is entered. What is
    iterated synchronously will be in a thread. Anything else is returned as it is.
    """
    if is_async(opened):
        return opened
    if hasattr(opened, "__aenter__"):
        return await _entered(opened)
    return ThreadedStream(opened) if is_blocking(opened) else opened


async def _entered(manager: Any) -> ManagedStream:
    stream = await manager.__aenter__()
    return ManagedStream(ThreadedStream(stream) if is_blocking(stream) else stream, manager)


def is_async(stream: Any) -> bool:
    """Return whether `stream` can be iterated with `async for`."""
    return hasattr(stream, "__aiter__") or hasattr(stream, "__anext__")


def is_blocking(stream: Any) -> bool:
    """Return whether `stream` is iterated synchronously; text, bytes and a whole answer are not streams."""
    if isinstance(stream, (_TEXT, type)) or is_async(stream) or hasattr(stream, "model_dump"):
        return False
    return hasattr(stream, "__iter__") or hasattr(stream, "__next__") or is_manager(stream)


def unwrapped(stream: Any) -> Any:
    """Return the stream as its provider made it, without what `enter` put around it."""
    while isinstance(stream, (ManagedStream, ThreadedStream)):
        stream = stream.source
    return stream


def iterate(stream: Any) -> AsyncIterator[Any]:
    """Return an async iterator of the items of `stream`, in a thread if it is a blocking one.

    Raises:
        L0Error: `INVALID_STREAM`: it cannot be iterated.
    """
    if hasattr(stream, "__aiter__"):
        return stream if hasattr(stream, "__anext__") else stream.__aiter__()  # type: ignore[no-any-return]
    if hasattr(stream, "__anext__"):
        return _Nexts(stream)
    if is_blocking(stream):
        return ThreadedStream(stream)
    raise invalid(f"{kind_of(stream)} is no stream: it can be iterated neither with for nor async for")


class _Nexts:
    """Gives an object that has only `__anext__` the `__aiter__` that an `async for` asks for."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __aiter__(self) -> "_Nexts":
        return self

    async def __anext__(self) -> Any:
        return await self._stream.__anext__()


async def close_stream(adapter: Any, stream: Any, items: Any = None) -> None:
    """Close `stream`, and release its connection. What that raises is logged and not raised.

    It may be called again, and on a stream that was never read.

    Args:
        adapter: the one that read the stream, or None; its `close(stream)` is used if it has one.
        stream: what `enter` returned.
        items: what `items_for` returned, to be closed first if it is an object of its own.
    """
    try:
        if items is not None and items is not stream:
            await _quietly(_close, items)
    finally:
        close = getattr(adapter, "close", None)
        if close is not None:
            await _quietly(close, unwrapped(stream))
        if close is None or stream is not unwrapped(stream):
            await _quietly(_close, stream)


async def _quietly(close: Callable[[Any], Any], stream: Any) -> None:
    try:
        await _resolved(close(stream))
    except Exception as error:
        log.debug("stream_close_failed", stream=kind_of(stream), error=describe(error))


async def _close(stream: Any) -> None:
    close = getattr(stream, "aclose", None) or getattr(stream, "close", None)
    if close is not None:
        await _resolved(close())


async def _resolved(result: Any) -> None:
    if inspect.isawaitable(result):
        await result
