"""What a factory returned is opened, and closed again, whatever it is."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from l0actors.errors import ErrorCode, L0Error
from l0actors.events import EventType, L0Event
from l0actors.providers import close_stream, decoder_for, detect_adapter, enter, items_for
from l0actors.providers.opening import iterate, unwrapped

Log = list[str]


class Closable:
    """A stream whose ways to be closed are chosen by the test."""

    def __init__(self, **closers: Any) -> None:
        self.log: Log = []
        for name, close in closers.items():
            setattr(self, name, close)

    def __aiter__(self) -> "Closable":
        return self

    async def __anext__(self) -> str:
        raise StopAsyncIteration


class WithClose:
    """An adapter that closes its streams itself."""

    name = "closing"

    def __init__(self) -> None:
        self.closed: list[Any] = []

    def detect(self, stream: Any) -> bool:
        return True

    async def wrap(self, stream: Any) -> AsyncIterator[L0Event]:
        yield L0Event(EventType.COMPLETE, data={"of": stream})

    def close(self, stream: Any) -> None:
        self.closed.append(stream)


async def test_an_async_stream_is_entered_as_it_is() -> None:
    """What can be iterated with `async for` is returned untouched, even if it could be entered."""

    class Both(Closable):
        async def __aenter__(self) -> None:
            raise AssertionError("it must not be entered")

    stream = Both()
    assert await enter(stream) is stream


@pytest.mark.parametrize("value", [None, 3, "text", b"x", {"a": 1}])
async def test_what_is_no_stream_is_left_for_the_registry_to_refuse(value: Any) -> None:
    """`enter` does not judge."""
    assert await enter(value) is value
    with pytest.raises(L0Error) as failed:
        iterate(value)
    assert failed.value.code is ErrorCode.INVALID_STREAM


@pytest.mark.parametrize("inner", ["async", "sync"])
async def test_a_manager_is_entered_and_left(inner: str) -> None:
    """An async context manager gives its stream, and is left when that is closed, once."""
    log: Log = []

    async def agen() -> AsyncIterator[str]:
        try:
            yield "a"
            yield "b"
        finally:
            log.append("closed")

    def gen() -> Iterator[str]:
        try:
            yield "a"
            yield "b"
        finally:
            log.append("closed")

    @contextlib.asynccontextmanager
    async def manager() -> AsyncIterator[Any]:
        log.append("entered")
        yield agen() if inner == "async" else gen()
        log.append("left")

    stream = await enter(manager())
    adapter = detect_adapter(stream)
    items = items_for(adapter, stream)
    assert await items.__anext__() == "a"
    await close_stream(adapter, stream)
    await close_stream(adapter, stream)
    assert log == ["entered", "closed", "left"]


async def test_a_manager_is_left_even_if_its_stream_cannot_be_closed() -> None:
    """A `close` that raises does not keep the manager open."""

    class Manager:
        left = False

        async def __aenter__(self) -> Closable:
            return Closable(close=lambda: 1 // 0)

        async def __aexit__(self, *exc: object) -> None:
            self.left = True

    manager = Manager()
    await close_stream(None, await enter(manager))
    assert manager.left


async def test_whatever_is_iterated_serves_an_async_for() -> None:
    """What `iterate` returns has `__aiter__`, even if the stream has only `__anext__`."""

    class Nexter:
        left = 2

        async def __anext__(self) -> int:
            self.left -= 1
            if self.left < 0:
                raise StopAsyncIteration
            return self.left

    assert [item async for item in iterate(Nexter())] == [1, 0]


async def test_aclose_is_preferred_to_close() -> None:
    """A stream that has both is closed by `aclose`."""
    stream = Closable()
    stream.aclose = lambda: stream.log.append("aclose")  # type: ignore[attr-defined]
    stream.close = lambda: stream.log.append("close")  # type: ignore[attr-defined]
    await close_stream(None, stream)
    assert stream.log == ["aclose"]


async def test_an_awaitable_close_is_awaited() -> None:
    """What `close` returns is awaited if it can be."""
    stream = Closable()

    async def close() -> None:
        stream.log.append("awaited")

    stream.close = close  # type: ignore[attr-defined]
    await close_stream(None, stream)
    assert stream.log == ["awaited"]


async def test_what_closing_raises_is_swallowed() -> None:
    """A failure to close never hides the first error."""

    def close() -> None:
        raise OSError("cannot")

    await close_stream(None, Closable(close=close))
    await close_stream(None, Closable())
    await close_stream(None, None)


async def test_a_cancel_while_closing_comes_through() -> None:
    """A cancellation is not taken for a failure to close."""

    async def close() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await close_stream(None, Closable(close=close))


async def test_an_adapters_close_is_used_instead() -> None:
    """An adapter's `close` gets the provider's own stream; what `enter` put around it is closed too."""
    adapter = WithClose()
    source = Closable(close=lambda: pytest.fail("the adapter closes it"))
    await close_stream(adapter, source)
    numbers = iter([1, 2])
    await close_stream(adapter, await enter(numbers))
    assert adapter.closed == [source, numbers]


async def test_an_adapter_sees_the_providers_own_stream() -> None:
    """A user's adapter gets what the factory returned, without what `enter` put around it."""
    source = ["a"]
    stream = await enter(source)
    assert unwrapped(stream) is source
    event = await items_for(WithClose(), stream).__anext__()
    assert event.data == {"of": source}


async def test_one_list_serves_many_readers() -> None:
    """Closing one reader of a shared list does not end another's."""
    shared = [str(number) for number in range(100)]
    first, second = await enter(shared), await enter(shared)
    plain = detect_adapter(first)
    items = items_for(plain, second)
    assert await items.__anext__() == "0"
    await close_stream(plain, first)
    assert [item async for item in items] == shared[1:]
    assert decoder_for(plain).feed("x") == "x"


async def test_items_of_their_own_are_closed_first() -> None:
    """The generator of a user's adapter is closed before its stream."""
    log: Log = []

    class Adapter(WithClose):
        async def wrap(self, stream: Any) -> AsyncIterator[L0Event]:
            try:
                yield L0Event(EventType.TOKEN, "a")
            finally:
                log.append("generator")

        def close(self, stream: Any) -> None:
            log.append("stream")

    adapter, stream = Adapter(), Closable()
    items = items_for(adapter, stream)
    await items.__anext__()
    await close_stream(adapter, stream, items)
    assert log == ["generator", "stream"]
