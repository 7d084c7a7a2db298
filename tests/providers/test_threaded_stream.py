"""Blocking iterators, read in a thread."""

import asyncio
import contextvars
import gc
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from l0actors.providers import threaded
from l0actors.providers.threaded import READ_AHEAD, ThreadedStream

GRACE_S = threaded._CLOSE_GRACE_S


def threads() -> list[threading.Thread]:
    """The threads that read streams."""
    return [thread for thread in threading.enumerate() if thread.name == "l0actors-stream"]


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    """No test may leave a thread."""
    yield
    for thread in threads():
        thread.join(5)
    assert not threads()


async def happens(condition: Callable[[], bool]) -> None:
    """Wait for what a thread does."""
    while not condition():  # noqa: ASYNC110 - a thread sets no asyncio.Event
        await asyncio.sleep(0)


async def drain(stream: AsyncIterator[Any]) -> list[Any]:
    """Read a stream to its end."""
    return [item async for item in stream]


async def test_items_come_in_order() -> None:
    """All items arrive, in their order, many times more than the read-ahead."""
    assert await drain(ThreadedStream(range(READ_AHEAD * 20))) == list(range(READ_AHEAD * 20))


async def test_the_loop_goes_on_while_the_iterator_blocks() -> None:
    """A `next()` that blocks does not stop the event loop."""
    gate = threading.Event()

    def source() -> Iterator[str]:
        gate.wait()
        yield "x"

    stream = ThreadedStream(source())
    waiting = asyncio.ensure_future(stream.__anext__())
    await happens(lambda: bool(threads()))
    assert not waiting.done()
    gate.set()
    assert await waiting == "x"
    await stream.aclose()


async def test_nothing_is_pulled_before_it_is_asked_for() -> None:
    """The thread starts with the first item that is asked for."""
    pulled: list[int] = []

    def source() -> Iterator[int]:
        pulled.append(0)
        yield 0

    stream = ThreadedStream(source())
    await asyncio.sleep(0)
    assert not pulled
    assert not threads()
    assert await stream.__anext__() == 0
    await stream.aclose()


async def test_it_is_never_far_ahead() -> None:
    """The thread is never more than READ_AHEAD items ahead of the consumer, and gets there."""
    pulled = 0

    def source() -> Iterator[int]:
        nonlocal pulled
        for number in range(READ_AHEAD * 5):
            pulled += 1
            yield number

    stream = ThreadedStream(source())
    for taken in range(1, READ_AHEAD * 3):
        await stream.__anext__()
        assert pulled <= taken + READ_AHEAD
    await happens(lambda: pulled >= READ_AHEAD * 3)
    await stream.aclose()
    assert pulled <= READ_AHEAD * 4


async def test_an_exception_comes_after_the_items_before_it() -> None:
    """What the iterator raises reaches the consumer, once, behind every item."""

    def source() -> Iterator[str]:
        yield "a"
        raise ConnectionResetError("gone")

    stream = ThreadedStream(source())
    assert await stream.__anext__() == "a"
    with pytest.raises(ConnectionResetError, match="gone"):
        await stream.__anext__()
    with pytest.raises(StopAsyncIteration):
        await stream.__anext__()


@pytest.mark.parametrize(
    "error", [StopAsyncIteration(), asyncio.CancelledError(), GeneratorExit(), SystemExit(1)]
)
async def test_an_exception_with_a_meaning_of_its_own_is_not_misread(error: BaseException) -> None:
    """What would look like a clean end, a cancel or an exit arrives as a RuntimeError caused by it."""

    class Source:
        def __iter__(self) -> Iterator[str]:
            return self

        def __next__(self) -> str:
            raise error

    with pytest.raises(RuntimeError, match=type(error).__name__) as failed:
        await drain(ThreadedStream(Source()))
    assert failed.value.__cause__ is error


async def test_an_iter_that_raises_stop_iteration_is_no_clean_end() -> None:
    """A StopIteration from anywhere but `next()` is an error."""

    class Source:
        def __iter__(self) -> Iterator[str]:
            raise StopIteration

    with pytest.raises(RuntimeError, match="StopIteration"):
        await drain(ThreadedStream(Source()))


async def test_closing_closes_the_generator_in_its_thread() -> None:
    """`aclose` ends the thread and runs the generator's `finally` in it."""
    where: list[threading.Thread] = []

    def source() -> Iterator[int]:
        try:
            yield from range(10**9)
        finally:
            where.append(threading.current_thread())

    stream = ThreadedStream(source())
    await stream.__anext__()
    (worker,) = threads()
    await stream.aclose()
    await stream.aclose()
    worker.join(5)
    assert where == [worker]
    assert not threads()


async def test_a_stream_that_was_never_read_is_closed() -> None:
    """`aclose` closes what was opened even if nobody asked for an item."""
    closed = threading.Event()

    class Source:
        def __iter__(self) -> Iterator[str]:
            raise AssertionError("it must not be read")

        def close(self) -> None:
            closed.set()

    await ThreadedStream(Source()).aclose()
    assert closed.is_set()


async def test_closing_does_not_wait_for_a_next_that_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """`aclose` returns while `next()` blocks; the generator is closed when that returns."""
    monkeypatch.setattr(threaded, "_CLOSE_GRACE_S", GRACE_S)
    gate, closed = threading.Event(), threading.Event()

    def source() -> Iterator[str]:
        try:
            yield "a"
            gate.wait()
            yield "b"
        finally:
            closed.set()

    stream = ThreadedStream(source())
    await stream.__anext__()
    await stream.aclose()
    assert not closed.is_set()
    gate.set()
    await happens(closed.is_set)


async def test_a_cancelled_wait_loses_no_item() -> None:
    """An `__anext__` that is cancelled leaves the item for the next one."""
    gate = threading.Event()

    def source() -> Iterator[str]:
        gate.wait()
        yield from "ab"

    stream = ThreadedStream(source())
    waiting = asyncio.ensure_future(stream.__anext__())
    await happens(lambda: bool(threads()))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    gate.set()
    assert await drain(stream) == ["a", "b"]


async def test_a_dropped_stream_ends_its_thread() -> None:
    """A stream that nobody holds any more closes its iterator."""
    closed = threading.Event()

    def source() -> Iterator[int]:
        try:
            yield from range(10**9)
        finally:
            closed.set()

    stream = ThreadedStream(source())
    await stream.__anext__()
    del stream
    gc.collect()
    await happens(closed.is_set)


async def test_a_context_manager_is_entered_and_left_in_the_thread() -> None:
    """A blocking manager of a stream is entered, read and left in the thread."""
    seen: list[tuple[str, threading.Thread]] = []

    class Manager:
        def __enter__(self) -> list[str]:
            seen.append(("enter", threading.current_thread()))
            return ["a", "b"]

        def __exit__(self, *exc: object) -> None:
            seen.append(("exit", threading.current_thread()))

    stream = ThreadedStream(Manager())
    assert await drain(stream) == ["a", "b"]
    await stream.aclose()
    assert [what for what, _ in seen] == ["enter", "exit"]
    assert len({thread for _, thread in seen}) == 1
    assert seen[0][1] is not threading.current_thread()


async def test_a_manager_cannot_swallow_an_error() -> None:
    """A manager that suppresses exceptions does not turn a failure into a clean end."""

    class Manager:
        def __enter__(self) -> Iterator[int]:
            return iter(lambda: 1 // 0, -1)

        def __exit__(self, *exc: object) -> bool:
            return True

    with pytest.raises(ZeroDivisionError):
        await drain(ThreadedStream(Manager()))


async def test_a_close_that_raises_is_no_failure() -> None:
    """What closing raises does not reach the consumer."""

    class Source:
        def __iter__(self) -> Iterator[str]:
            return iter(["a"])

        def close(self) -> None:
            raise OSError("cannot close")

    stream = ThreadedStream(Source())
    assert await drain(stream) == ["a"]
    await stream.aclose()


async def test_the_thread_sees_the_callers_context() -> None:
    """Context variables have in the thread the values that they have for the reader."""
    variable = contextvars.ContextVar("variable", default="none")
    variable.set("mine")

    def source() -> Iterator[str]:
        yield variable.get()

    assert await drain(ThreadedStream(source())) == ["mine"]


def test_a_loop_that_is_gone_is_no_matter() -> None:
    """A thread whose loop was closed meanwhile ends quietly."""
    gate = threading.Event()

    def source() -> Iterator[str]:
        gate.wait()
        yield "a"

    async def main() -> ThreadedStream:
        stream = ThreadedStream(source())
        waiting = asyncio.ensure_future(stream.__anext__())
        await happens(lambda: bool(threads()))
        waiting.cancel()
        return stream

    stream = asyncio.run(main())
    gate.set()
    del stream


async def test_many_streams_do_not_mix() -> None:
    """Streams that are read at once keep to themselves."""
    streams = [ThreadedStream([name] * 100) for name in range(20)]
    assert await asyncio.gather(*map(drain, streams)) == [[name] * 100 for name in range(20)]


def test_the_grace_is_short() -> None:
    """Closing waits less for the thread than a connection may take to be closed."""
    assert GRACE_S < 0.05
