"""Every way to leave a session before its end: the provider's connection is closed and nothing is left."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import subprocess
import sys
import textwrap
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from typing import Any

import pytest
from session_kit import PATIENT, Bench, bench, consume, nothing_left, settle
from virtual_time import run

from l0actors import ErrorCode, EventType, L0Error, L0Event, L0Result, RetryConfig, TimeoutConfig, l0, session
from l0actors.actors import reader
from l0actors.system import _defaults
from l0actors.testing import WIRES, Reply, Stall, Wire

SILENT = Reply("one two three", fault=Stall(after_tokens=2))
DEAF = Reply("one two three", fault=Stall(at="start"))

Open = Callable[[], Awaitable[L0Result]]
Way = Callable[[Bench, Open], Coroutine[Any, Any, None]]


@pytest.fixture(scope="module")
def b() -> Iterator[Bench]:
    """Share one provider and one client of each SDK."""
    with bench() as made:
        yield made


# Each way opens a session whose provider sends two tokens and falls silent, and leaves it.


async def a_break(b: Bench, opened: Open) -> None:
    """Break out of the loop."""
    async for event in await opened():
        if event.value == " two":
            break


async def an_exception_in_the_loop(b: Bench, opened: Open) -> None:
    """Raise in the loop."""
    with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the loop is what is tested
        async for event in await opened():
            if event.value == " two":
                raise ZeroDivisionError


async def a_return_from_texts(b: Bench, opened: Open) -> None:
    """Break out of `texts()`."""
    result = await opened()
    async for text in result.texts():
        if text == " two":
            break


async def a_cancelled_consumer(b: Bench, opened: Open) -> None:
    """Cancel the task that consumes."""
    task = asyncio.ensure_future(consume(await opened()))
    await b.provider.wait_stalled()
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()


async def a_consumer_cancelled_twice(b: Bench, opened: Open) -> None:
    """Cancel it again while it ends."""
    task = asyncio.ensure_future(consume(await opened()))
    await b.provider.wait_stalled()
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()


async def a_cancelled_text(b: Bench, opened: Open) -> None:
    """Cancel `text()`."""
    result = await opened()
    task = asyncio.ensure_future(result.text())
    await b.provider.wait_stalled()
    task.cancel()
    await asyncio.wait({task})
    with pytest.raises(L0Error, match="the consumer left"):
        await result.text()


async def an_abort_in_the_loop(b: Bench, opened: Open) -> None:
    """Abort from the loop."""
    result = await opened()
    async for event in result:
        if event.value == " two":
            result.abort("enough")
    assert result.state.aborted
    assert result.state.content == "one two"
    with pytest.raises(L0Error, match="enough") as raised:
        await result.text()
    assert raised.value.code is ErrorCode.STREAM_ABORTED


async def an_abort_while_the_provider_is_silent(b: Bench, opened: Open) -> None:
    """Abort from another task, twice."""
    result = await opened()
    events: list[L0Event] = []

    async def iterate() -> None:
        events.extend([event async for event in result])

    task = asyncio.ensure_future(iterate())
    await b.provider.wait_stalled()
    result.abort()
    result.abort("twice")
    await task
    assert EventType.COMPLETE not in [event.type for event in events]


async def an_abort_before_iteration(b: Bench, opened: Open) -> None:
    """Abort before iterating."""
    result = await opened()
    await b.provider.wait_stalled()
    result.abort()
    assert [event async for event in result] == []


async def an_abort_at_once(b: Bench, opened: Open) -> None:
    """Abort before anything has happened."""
    result = await opened()
    result.abort()
    assert [event async for event in result] == []
    await result.aclose()


async def aclose_twice(b: Bench, opened: Open) -> None:
    """Close it, and close it again."""
    result = await opened()
    await b.provider.wait_stalled()
    await result.aclose()
    await result.aclose()


async def the_end_of_async_with(b: Bench, opened: Open) -> None:
    """Leave the block."""
    async with await opened() as result:
        await b.provider.wait_stalled()
        assert not result.state.aborted
    assert result.state.aborted


async def an_exception_in_async_with(b: Bench, opened: Open) -> None:
    """Leave the block by an exception."""
    with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the block is what is tested
        async with await opened():
            await b.provider.wait_stalled()
            raise ZeroDivisionError


async def a_result_that_is_dropped(b: Bench, opened: Open) -> None:
    """Drop the result unconsumed."""
    result: L0Result | None = await opened()
    await b.provider.wait_stalled()
    assert result is not None
    del result
    gc.collect()


async def a_result_that_is_dropped_in_a_thread(b: Bench, opened: Open) -> None:
    """Drop it where no loop runs."""
    held = [await opened()]
    await b.provider.wait_stalled()
    thread = threading.Thread(target=held.clear)
    thread.start()
    thread.join()
    gc.collect()


async def an_iterator_that_is_dropped(b: Bench, opened: Open) -> None:
    """Drop an iterator that has begun."""
    iterator: AsyncIterator[L0Event] | None = (await opened()).stream
    assert iterator is not None
    await iterator.__anext__()
    await b.provider.wait_stalled()
    del iterator
    gc.collect()


async def an_iterator_that_is_closed(b: Bench, opened: Open) -> None:
    """Close the iterator."""
    result = await opened()
    iterator: Any = result.stream
    await iterator.__anext__()
    await iterator.aclose()
    assert result.state.aborted


async def wait_for(b: Bench, opened: Open) -> None:
    """Give it a time limit, the old way."""
    result = await opened()
    await b.provider.wait_stalled()
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(result.text(), 0.01)  # noqa: TID251 - what users write


async def timeout(b: Bench, opened: Open) -> None:
    """Give it a time limit, the new way."""
    limit: Any = getattr(asyncio, "timeout", None)
    if limit is None:
        pytest.skip("asyncio.timeout came with 3.11")
    result = await opened()
    await b.provider.wait_stalled()
    with pytest.raises(TimeoutError):
        async with limit(0.01):
            await consume(result)
    task: Any = asyncio.current_task()
    assert not task.cancelling()


WAYS: list[Way] = [
    a_break,
    an_exception_in_the_loop,
    a_return_from_texts,
    a_cancelled_consumer,
    a_consumer_cancelled_twice,
    a_cancelled_text,
    an_abort_in_the_loop,
    an_abort_while_the_provider_is_silent,
    an_abort_before_iteration,
    an_abort_at_once,
    aclose_twice,
    the_end_of_async_with,
    an_exception_in_async_with,
    a_result_that_is_dropped,
    a_result_that_is_dropped_in_a_thread,
    an_iterator_that_is_dropped,
    an_iterator_that_is_closed,
    wait_for,
    timeout,
]


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_leaving_closes_the_connection(b: Bench, way: Way, wire: Wire) -> None:
    """Whoever leaves a silent stream, in whatever way, leaves no open response, task or default system."""

    async def opened() -> L0Result:
        return await l0(stream=b.source(wire, lambda _: SILENT), timeout=PATIENT)

    b.run(way(b, opened))
    assert b.loop not in _defaults
    assert b.provider.open_streams == 0


@pytest.mark.parametrize("leave", ["abort", "aclose", "cancel", "drop"])
def test_leaving_while_it_connects(b: Bench, leave: str) -> None:
    """A request whose headers never come is given up when its session is left."""

    async def scenario() -> None:
        result: Any = await l0(stream=b.source("chat", lambda _: DEAF), timeout=PATIENT)
        await b.provider.wait_stalled()
        if leave == "abort":
            result.abort()
        elif leave == "aclose":
            await result.aclose()
        elif leave == "cancel":
            task = asyncio.ensure_future(result.text())
            await settle()
            task.cancel()
            await asyncio.wait({task})
        del result
        gc.collect()

    b.run(scenario())
    assert b.loop not in _defaults


# In virtual time.


async def failing() -> AsyncIterator[str]:
    """Yield one piece and fail."""
    yield "a"
    raise ConnectionError("cut")


async def silent() -> AsyncIterator[str]:
    """Yield one piece and nothing more."""
    yield "a"
    await asyncio.sleep(10**6)


SLOW_RETRY = RetryConfig(base_delay_ms=60_000, max_delay_ms=60_000, strategy="fixed")  # type: ignore[arg-type]


@pytest.mark.parametrize("leave", ["abort", "aclose", "cancel"])
def test_leaving_in_a_back_off(leave: str) -> None:
    """A session that pauses before a retry ends at once when it is left: no attempt follows."""
    opened: list[int] = []

    def source() -> AsyncIterator[str]:
        opened.append(1)
        return failing()

    async def scenario() -> float:
        result: Any = await l0(stream=source, retry=SLOW_RETRY)
        task = asyncio.ensure_future(consume(result))
        await asyncio.sleep(1)
        assert result.state.phase.value == "retrying"
        if leave == "abort":
            result.abort()
            result.abort()
            await asyncio.wait({task})
        elif leave == "aclose":
            await result.aclose()
        else:
            task.cancel()
            await asyncio.wait({task})
        del result, task
        await nothing_left()
        return asyncio.get_running_loop().time()

    assert run(scenario()) == pytest.approx(1, abs=0.01)
    assert len(opened) == 1


def test_a_dropped_result_ends_its_back_off() -> None:
    """A result that is dropped during a back-off ends its session; no attempt follows."""

    async def scenario() -> float:
        result: L0Result | None = await l0(stream=failing, retry=SLOW_RETRY)
        await asyncio.sleep(1)
        assert result is not None
        del result
        gc.collect()
        await nothing_left()
        return asyncio.get_running_loop().time()

    assert run(scenario()) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("done", [False, True])
def test_an_abort_in_the_middle_of_a_batch(done: bool) -> None:
    """Nothing is given after `abort()`, of what had been received before it either, nor of a whole answer."""

    async def source() -> AsyncIterator[str]:
        for number in range(10):
            yield f"{number} "
        if not done:
            await asyncio.sleep(10**6)

    async def scenario() -> None:
        result = await l0(stream=source)
        await settle()
        texts: list[str | None] = []
        async for event in result:
            texts.append(event.value)
            if len(texts) == 3:
                result.abort("enough")
        assert texts == ["0 ", "1 ", "2 "]
        assert result.state.content == "0 1 2 "
        assert result.state.aborted
        with pytest.raises(L0Error, match="enough"):
            await result.text()
        await result.aclose()

    run(scenario())


def test_leaving_a_whole_answer_that_was_not_taken_whole() -> None:
    """Whoever breaks out of the loop gets no text, also when the provider had already said everything."""

    async def source() -> AsyncIterator[str]:
        yield "a"
        yield "b"

    async def scenario() -> None:
        result = await l0(stream=source)
        await settle()
        async for _ in result:
            break
        await nothing_left()
        assert result.state.aborted
        assert result.state.content == "a"
        with pytest.raises(L0Error, match="the consumer left"):
            await result.text()

    run(scenario())


def test_breaking_at_complete_is_no_leaving() -> None:
    """A consumer that breaks at `COMPLETE` has everything: the text is there and nothing was aborted."""

    async def source() -> AsyncIterator[str]:
        yield "a"

    async def scenario() -> None:
        result = await l0(stream=source)
        async for event in result:
            if event.type is EventType.COMPLETE:
                break
        await nothing_left()
        assert await result.text() == "a"
        result.abort()
        assert not result.state.aborted
        assert await result.text() == "a"

    run(scenario())


def test_an_abort_after_the_end_changes_nothing() -> None:
    """A session that has ended cannot be aborted any more."""

    async def source() -> AsyncIterator[str]:
        yield "a"

    async def scenario() -> None:
        result = await l0(stream=source)
        assert await result.text() == "a"
        result.abort()
        await result.aclose()
        assert (await result.text(), result.state.aborted, result.state.completed) == ("a", False, True)

    run(scenario())


def test_an_abort_from_on_event() -> None:
    """`on_event` may abort its own session."""
    results: list[L0Result] = []

    async def scenario() -> list[L0Event]:
        seen: list[str] = []

        def on_event(event: Any) -> None:
            seen.append(event.type.value)
            if event.type.value == "STREAM_READY":
                results[0].abort("from on_event")

        results.append(await l0(stream=silent, on_event=on_event))
        events = [event async for event in results[0]]
        await results[0].aclose()
        await nothing_left()
        assert seen[-1] == "SESSION_END"
        assert seen.count("SESSION_END") == 1
        return events

    events = run(scenario())
    assert EventType.COMPLETE not in [event.type for event in events]
    assert results[0].state.aborted


def test_a_default_system_serves_who_comes_while_it_ends() -> None:
    """A session that is opened in the very turns in which the default system ends gets a text."""

    async def source() -> AsyncIterator[str]:
        yield "a"

    async def scenario() -> None:
        for turns in range(40):
            first = await l0(stream=source)
            await first.text()
            await settle(turns)
            assert await (await l0(stream=source)).text() == "a"
        await nothing_left()
        assert asyncio.get_running_loop() not in _defaults

    run(scenario())


@pytest.mark.parametrize("turns", range(25))
def test_an_abort_in_any_turn(turns: int) -> None:
    """In whichever turn of the loop the abort comes, the source is closed and iteration ends quietly."""
    opened, closed = [0], [0]

    async def source() -> AsyncIterator[str]:
        opened[0] += 1
        try:
            await asyncio.sleep(0)
            yield "a"
            await asyncio.sleep(10**6)
        finally:
            closed[0] += 1

    async def scenario() -> float:
        result = await l0(stream=source)
        await settle(turns)
        result.abort()
        assert [event.type async for event in result] == []
        await result.aclose()
        await nothing_left()
        return asyncio.get_running_loop().time()

    assert run(scenario()) == 0
    assert opened == closed


@pytest.mark.parametrize("turns", range(25))
def test_a_cancellation_in_any_turn(turns: int) -> None:
    """In whichever turn the consumer is cancelled, the cancellation goes through and the source is closed."""
    opened, closed = [0], [0]

    async def source() -> AsyncIterator[str]:
        opened[0] += 1
        try:
            yield "a"
            await asyncio.sleep(0)
            yield "b"
            await asyncio.sleep(10**6)
        finally:
            closed[0] += 1

    async def call() -> str:
        return await (await l0(stream=source)).text()

    async def scenario() -> float:
        task = asyncio.ensure_future(call())
        await settle(turns)
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()
        await nothing_left()
        return asyncio.get_running_loop().time()

    assert run(scenario()) == 0
    assert opened == closed


@pytest.mark.parametrize("leave", ["abort", "aclose", "break", "timeout"])
def test_a_source_may_clean_up(leave: str) -> None:
    """A source that is left may take `CLOSE_S` for its own clean-up: it is cancelled once."""
    log: list[str] = []

    async def source() -> AsyncIterator[str]:
        try:
            yield "a"
            await asyncio.sleep(10**6)
        finally:
            await asyncio.sleep(reader.CLOSE_S / 2)
            log.append("clean")

    async def scenario() -> None:
        result = await l0(
            stream=source,
            timeout=TimeoutConfig(inter_token_ms=100 if leave == "timeout" else None),
            retry=RetryConfig(max_retries=0),
        )
        if leave == "timeout":
            assert (await consume(result)).error is not None
        else:
            async for _ in result:
                if leave == "break":
                    break
                if leave == "abort":
                    result.abort()
                else:
                    await result.aclose()
        await result.aclose()

    run(scenario())
    assert log == ["clean"]


class Clinging:
    """A stream whose `aclose` hangs, and maybe does not let itself be cancelled."""

    def __init__(self, deaf: bool, texts: list[str]) -> None:
        self._deaf = deaf
        self._left = texts

    def __aiter__(self) -> AsyncIterator[str]:
        return self

    async def __anext__(self) -> str:
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop()

    async def aclose(self) -> None:
        """Hang; a deaf one ignores ten cancellations."""
        await (ignore_cancellation() if self._deaf else asyncio.sleep(10**6))


class Deaf(Clinging):
    """A stream that ignores ten cancellations when it has given what it has."""

    def __init__(self, texts: list[str]) -> None:
        super().__init__(True, texts)

    async def __anext__(self) -> str:
        if not self._left:
            await ignore_cancellation()
        return await super().__anext__()

    async def aclose(self) -> None:
        """Be closed."""


async def ignore_cancellation() -> None:
    """Wait on when cancelled, ten times."""
    for _ in range(10):
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(10**6)


def test_a_close_that_hangs_is_cut_short() -> None:
    """A stream whose `aclose` hangs delays the end of its session by `CLOSE_S`, and no longer."""

    async def scenario() -> float:
        result = await l0(stream=lambda: Clinging(False, ["a"]))
        assert await result.text() == "a"
        return asyncio.get_running_loop().time()

    assert run(scenario()) == pytest.approx(reader.CLOSE_S, abs=0.1)


def test_a_close_that_ignores_cancellation_is_given_up() -> None:
    """A stream that cannot be closed holds up its session for a few seconds, and the text is whole."""

    async def scenario() -> float:
        result = await l0(stream=lambda: Clinging(True, ["a"]))
        assert await result.text() == "a"
        return asyncio.get_running_loop().time()

    assert run(scenario(), clean=False) <= 3 * reader.CLOSE_S + session.GONE_S + 0.1


def test_a_source_that_ignores_cancellation_is_given_up() -> None:
    """An attempt whose source cannot be cancelled fails for all that, and the next one's text is whole."""
    sources: list[Any] = [Deaf(["a"]), Clinging(False, ["b", "a"])]

    async def scenario() -> float:
        result = await l0(
            stream=lambda: sources.pop(0),
            timeout=TimeoutConfig(inter_token_ms=100),
            retry=RetryConfig(base_delay_ms=1),
        )
        assert (await consume(result)).text == "ab"
        assert [record.outcome for record in result.attempts] == ["failed", "completed"]
        return asyncio.get_running_loop().time()

    assert run(scenario(), clean=False) <= 0.1 + 3 * reader.CLOSE_S + session.GONE_S + 0.1


@pytest.mark.parametrize("mode", ["plain", "observer", "back_off", "system", "thread", "raise"])
def test_asyncio_run_ends_with_sessions_in_flight(mode: str) -> None:
    """A program may end in the middle of sessions: nothing is on stderr, and it does not hang."""
    code = textwrap.dedent(
        """
        import asyncio, sys, threading
        from l0actors import ActorSystem, l0

        mode, kept, never = sys.argv[1], [], threading.Event()

        async def source():
            yield "a"
            if mode == "back_off":
                raise ConnectionError("cut")
            await asyncio.sleep(1000)

        def blocking():
            yield "a"
            never.wait()

        async def hang(event):
            await asyncio.sleep(1000)

        async def consume(result):
            async for _ in result:
                pass

        async def main():
            system = await ActorSystem(sinks=[hang_sink]).start() if mode == "system" else None
            fields = {"on_event": hang} if mode == "observer" else {}
            for _ in range(5):
                stream = blocking if mode == "thread" else source
                result = await l0(stream=stream, system=system, **fields)
                kept.append(asyncio.create_task(consume(result)))
                kept.append(await l0(stream=stream, system=system, **fields))
            await asyncio.sleep(0.02)
            if mode == "raise":
                raise SystemExit(0)

        async def hang_sink(message):
            await asyncio.sleep(1000)

        from l0actors.actors import Actor
        from l0actors.bus.messages import SessionStarted

        class Hanging(Actor):
            subscribes = (SessionStarted,)

            async def receive(self, message):
                await asyncio.sleep(1000)

        hang_sink = Hanging()
        asyncio.run(main())
        """
    )
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", code, mode],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
