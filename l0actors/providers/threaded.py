"""Iterates a blocking iterator in a thread of its own, for a consumer on the event loop."""

import asyncio
import contextlib
import contextvars
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from l0actors.logs import log
from l0actors.providers.failures import kind_of
from l0actors.redaction import describe

READ_AHEAD = 32
"""How many items the thread may be ahead of the consumer."""

_CLOSE_GRACE_S = 0.02
_NEVER = object()


class ThreadedStream:
    """An async iterator over a blocking one: a generator, a list, an SDK's synchronous stream.

    The thread starts with the first item that is asked for, runs at most `READ_AHEAD` items ahead, and
    does everything that touches the iterator: enters it if it is a context manager, pulls it, closes it.
    It is a daemon thread, so that an iterator that hangs cannot hold up the end of the process. A cancelled
    `__anext__` loses no item.

    Attributes:
        source: the blocking iterable, or a context manager of one.
    """

    def __init__(self, source: Any) -> None:
        self.source = source
        self._pump = _Pump(source)

    def __aiter__(self) -> "ThreadedStream":
        return self

    async def __anext__(self) -> Any:
        pump = self._pump
        if not pump.ready:
            await pump.wait(asyncio.get_running_loop())
        return pump.take()

    async def aclose(self) -> None:
        """Stop the thread and have it close the iterator.

        An iterator that blocks in `next()` cannot be stopped: the thread ends when it returns, and is not
        waited for. The socket under an SDK's stream is shut down, which ends such a `next()` at once.
        """
        gone = self._pump.stop(asyncio.get_running_loop())
        await asyncio.wait({gone}, timeout=_CLOSE_GRACE_S)

    def __del__(self) -> None:
        self._pump.abandon()


class _Pump:
    """What the thread and the loop share. The thread holds no reference to the `ThreadedStream`."""

    def __init__(self, source: Any) -> None:
        self.ready: deque[Any] = deque()
        self._source = self._inner = source
        self._changed = threading.Condition()
        self._arrival = _Signal()
        self._departure = _Signal()
        self._started = self._stopped = self._over = False
        self._error: BaseException | None = None

    # On the loop.

    def wait(self, loop: asyncio.AbstractEventLoop) -> "asyncio.Future[None]":
        """Return a future that is done when there is something to take."""
        with self._changed:
            self._start()
            self._changed.notify()
            return self._arrival.future(loop, done=bool(self.ready) or self._over)

    def take(self) -> Any:
        """Return the next item, or raise how the iterator ended."""
        if self.ready:
            return self.ready.popleft()
        error, self._error = self._error, None
        raise StopAsyncIteration if error is None else error

    def stop(self, loop: asyncio.AbstractEventLoop) -> "asyncio.Future[None]":
        """Tell the thread to close the iterator and end; return a future that is done when it has."""
        with self._changed:
            self._stopped = True
            self._start()
            self._changed.notify()
            if not self._over:
                _interrupt(self._inner)
            return self._departure.future(loop)

    def abandon(self) -> None:
        """Tell the thread to close the iterator and end: nobody can read it any more."""
        with self._changed:
            self._stopped = True
            self._changed.notify()

    def _start(self) -> None:
        if not self._started:
            self._started = True
            run = contextvars.copy_context().run
            threading.Thread(target=run, args=(self._run,), name="l0actors-stream", daemon=True).start()

    # In the thread.

    def _run(self) -> None:
        with _closing(self._source) as closing:
            error = self._pull(closing)
            with self._changed:
                self._error = error
                self._over = True
                self._arrival.give()
        with self._changed:
            self._departure.give(for_ever=True)

    def _pull(self, closing: contextlib.ExitStack) -> BaseException | None:
        try:
            if not self._stopped:
                self._inner = (
                    closing.enter_context(self._source) if is_manager(self._source) else self._source
                )
                for item in _iterate(self._inner, closing):
                    if not self._give(item):
                        break
        except BaseException as error:
            return _passable(error)
        return None

    def _give(self, item: Any) -> bool:
        """Hand over an item; return whether another one is wanted, as soon as there is room for it."""
        with self._changed:
            self.ready.append(item)
            self._arrival.give()
            while len(self.ready) >= READ_AHEAD and not self._stopped:
                self._changed.wait()
            return not self._stopped


class _Signal:
    """Wakes one waiter on the loop from another thread. Used under the pump's lock."""

    def __init__(self) -> None:
        self._future: asyncio.Future[None] | None = None
        self._given = False

    def future(self, loop: asyncio.AbstractEventLoop, *, done: bool = False) -> "asyncio.Future[None]":
        future = loop.create_future()
        if done or self._given:
            future.set_result(None)
        else:
            self._future = future
        return future

    def give(self, *, for_ever: bool = False) -> None:
        self._given = for_ever
        future, self._future = self._future, None
        if future is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                future.get_loop().call_soon_threadsafe(_resolve, future)


def is_manager(source: Any) -> bool:
    """Return whether `source` must be entered to get at the iterable."""
    return hasattr(source, "__enter__") and not (hasattr(source, "__iter__") or hasattr(source, "__next__"))


def _resolve(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


def _iterate(source: Any, closing: contextlib.ExitStack) -> Iterator[Any]:
    if not hasattr(source, "__iter__"):
        return iter(source.__next__, _NEVER)
    iterator: Iterator[Any] = iter(source)
    closing.callback(_quietly, getattr(iterator, "close", None))
    return iterator


@contextlib.contextmanager
def _closing(source: Any) -> Iterator[contextlib.ExitStack]:
    """Close `source`, and all that is put on the stack, and never raise for it."""
    closing = contextlib.ExitStack()
    closing.callback(_quietly, getattr(source, "close", None))
    yield closing
    _quietly(closing.close)


def _quietly(close: Callable[[], Any] | None) -> None:
    try:
        if close is not None:
            close()
    except BaseException as error:
        log.debug("stream_close_failed", error=describe(error))


def _passable(error: BaseException) -> BaseException:
    """Return `error`, or what can be raised in a coroutine for it without a second meaning."""
    if isinstance(error, Exception) and not isinstance(error, (StopIteration, StopAsyncIteration)):
        return error
    passable = RuntimeError(f"the iterator raised {type(error).__name__}")
    passable.__cause__ = error
    return passable


def _interrupt(stream: Any) -> None:
    """Shut the socket under an SDK's stream down, if the stream has it to itself."""
    response = getattr(stream, "response", None) or getattr(stream, "_response", None)
    try:
        if response is not None and not response.is_closed and response.http_version.startswith("HTTP/1"):
            raw = response.extensions["network_stream"].get_extra_info("socket")
            raw.shutdown(socket.SHUT_RDWR)
    except Exception as error:
        log.debug("stream_not_interrupted", stream=kind_of(stream), error=describe(error))
