"""The clocks of a session, in virtual time: what trips them, what does not, and what they say."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from session_kit import QUICK, Seen, consume, settle
from virtual_time import VirtualTimeLoop, run

from l0actors import (
    ActorSystem,
    ErrorCategory,
    ErrorCode,
    EventType,
    L0Error,
    L0Event,
    RetryConfig,
    TimeoutConfig,
    l0,
)
from l0actors.bus.messages import TimeoutFired

ONCE = RetryConfig(max_retries=0)
OFF = TimeoutConfig(initial_token_ms=None, inter_token_ms=None, content_ms=None)


def now() -> float:
    """Return the loop's time in seconds."""
    return asyncio.get_running_loop().time()


def block(seconds: float) -> None:
    """Let time pass as a blocking call would: nothing else runs meanwhile."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    loop._jumping.now += seconds


def progress(kind: str) -> dict[str, Any]:
    """Return a progress item."""
    return {"type": "progress", "data": {"kind": kind}}


async def paced(*items: Any) -> AsyncIterator[Any]:
    """Yield items; a number is a pause in seconds."""
    for item in items:
        if isinstance(item, (int, float)):
            await asyncio.sleep(item)
        else:
            yield item


async def for_ever(first: str | None, item: Any, every: float) -> AsyncIterator[Any]:
    """Yield a piece of text, if there is one, and then the same item again and again."""
    if first is not None:
        yield first
    while True:
        await asyncio.sleep(every)
        yield item


def timed_out(stream: Any, timeout: TimeoutConfig, **fields: Any) -> tuple[L0Error, float]:
    """Run a session that fails; return its error, and when that was."""

    async def scenario() -> tuple[L0Error, float]:
        fields.setdefault("retry", ONCE)
        seen = await consume(await l0(stream=stream, timeout=timeout, **fields))
        assert isinstance(seen.error, L0Error), seen
        return seen.error, now()

    return run(scenario())


def check(error: L0Error, code: ErrorCode, limit: str, waited: str) -> None:
    """The error says which clock, its limit and the measured wait."""
    assert (error.code, error.category) == (code, ErrorCategory.TIMEOUT)
    assert f"timeout.{limit}" in str(error)
    assert waited in str(error)


def test_a_connect_that_hangs() -> None:
    """The clocks run from the call of the factory: one that never returns is caught."""

    async def hang() -> Any:
        await asyncio.sleep(10**6)

    error, at = timed_out(hang, TimeoutConfig(initial_token_ms=300))
    check(error, ErrorCode.INITIAL_TOKEN_TIMEOUT, "initial_token_ms is 300", "300 ms")
    assert at == pytest.approx(0.3)


def test_the_first_token() -> None:
    """A stream that opens and says nothing times out after `initial_token_ms`."""
    error, at = timed_out(lambda: paced(10**6), TimeoutConfig(initial_token_ms=300))
    check(error, ErrorCode.INITIAL_TOKEN_TIMEOUT, "initial_token_ms is 300", "300 ms")
    assert at == pytest.approx(0.3)


@pytest.mark.parametrize("inter", [100, 4000, 60_000])
def test_between_tokens(inter: int) -> None:
    """A stream that falls silent times out after `inter_token_ms`, also if the first limit was longer."""
    error, at = timed_out(lambda: paced(1, "a", 0.05, "b", 10**6), TimeoutConfig(inter_token_ms=inter))
    check(error, ErrorCode.INTER_TOKEN_TIMEOUT, f"inter_token_ms is {inter}", f"{inter} ms")
    assert at == pytest.approx(1.05 + inter / 1000)


@pytest.mark.parametrize("kind", ["ping", "reasoning", "whatever"])
@pytest.mark.parametrize("first", [None, "a"])
def test_signs_of_life_without_content(kind: str, first: str | None) -> None:
    """Pings and reasoning hold the other clocks off, but only for `content_ms`."""
    limits = TimeoutConfig(initial_token_ms=500, inter_token_ms=500, content_ms=3000)
    error, at = timed_out(lambda: for_ever(first, progress(kind), 0.1), limits)
    check(error, ErrorCode.CONTENT_TIMEOUT, "content_ms is 3000", "3000 ms")
    assert at == pytest.approx(3.0)


def test_pings_that_stop() -> None:
    """Silence counts from the last ping."""
    limits = TimeoutConfig(initial_token_ms=500, inter_token_ms=500)
    error, at = timed_out(lambda: paced(0.4, progress("ping"), 0.4, progress("ping"), 10**6), limits)
    check(error, ErrorCode.INITIAL_TOKEN_TIMEOUT, "initial_token_ms is 500", "500 ms")
    assert at == pytest.approx(1.3)


def test_the_whole_session() -> None:
    """`total_ms` ends a session in the middle of an attempt, whatever it says meanwhile."""
    error, at = timed_out(lambda: for_ever("a", "b", 0.1), TimeoutConfig(total_ms=750), retry=QUICK)
    check(error, ErrorCode.TOTAL_TIMEOUT, "total_ms is 750", "750 ms")
    assert at == pytest.approx(0.75)


def test_a_pause_that_does_not_fit() -> None:
    """A session whose next pause would outlast `total_ms` fails at once, with what was wrong."""

    async def failing() -> AsyncIterator[str]:
        for _ in range(1):
            raise ConnectionError("cut")
        yield ""

    retry = RetryConfig(base_delay_ms=5000, max_retries=100, strategy="fixed")  # type: ignore[arg-type]
    error, at = timed_out(failing, TimeoutConfig(total_ms=12_000), retry=retry)
    assert error.code is ErrorCode.NETWORK_ERROR
    assert at == pytest.approx(10)


def test_the_total_covers_attempts_and_pauses() -> None:
    """The pauses count against `total_ms`: the attempt after one has only what is left."""
    retry = RetryConfig(base_delay_ms=1000, max_retries=1, strategy="fixed")  # type: ignore[arg-type]
    limits = TimeoutConfig(initial_token_ms=1000, total_ms=2500)
    error, at = timed_out(lambda: paced(10**6), limits, retry=retry)
    check(error, ErrorCode.TOTAL_TIMEOUT, "total_ms is 2500", "2500 ms")
    assert at == pytest.approx(2.5)


def test_clocks_that_are_off() -> None:
    """None switches a clock off: a source may take its time."""

    async def scenario() -> Seen:
        return await consume(await l0(stream=lambda: paced(10**5, "a", 10**5, "b"), timeout=OFF))

    assert run(scenario()).text == "ab"


def test_a_timeout_is_retried() -> None:
    """After a timeout mid-stream the source is tried again, and the clocks start anew."""
    attempts = [paced("a", 10**6), paced(0.9, "a", "b")]

    async def scenario() -> Seen:
        limits = TimeoutConfig(initial_token_ms=1000, inter_token_ms=200)
        return await consume(await l0(stream=lambda: attempts.pop(0), timeout=limits, retry=QUICK))

    seen = run(scenario())
    assert (seen.tokens, len(seen.result.errors)) == (["a", "b"], 1)


def test_a_slow_consumer_trips_no_clock() -> None:
    """While the source waits for the consumer its clocks stand still."""

    async def scenario() -> int:
        limits = TimeoutConfig(initial_token_ms=100, inter_token_ms=100, content_ms=150)
        source = [str(number) for number in range(30)]
        result = await l0(stream=lambda: paced(*source), buffer_tokens=2, timeout=limits, retry=ONCE)
        count = 0
        async for _ in result:
            await asyncio.sleep(3)
            count += 1
        return count

    assert run(scenario()) == 31


def test_a_clock_goes_on_after_a_slow_consumer() -> None:
    """Once the consumer has made room, silence counts again from where it was."""

    async def scenario() -> tuple[Seen, float]:
        limits = TimeoutConfig(inter_token_ms=200)
        result = await l0(
            stream=lambda: paced("a", "b", "c", 10**6), buffer_tokens=1, timeout=limits, retry=ONCE
        )
        await asyncio.sleep(10)
        return await consume(result), now()

    seen, at = run(scenario())
    assert isinstance(seen.error, L0Error)
    assert seen.error.code is ErrorCode.INTER_TOKEN_TIMEOUT
    assert at == pytest.approx(10.2, abs=0.01)


@pytest.mark.parametrize("hops", range(6))
@pytest.mark.parametrize("first", [(), ("a",)])
def test_a_blocked_loop_trips_no_clock(hops: int, first: tuple[str, ...]) -> None:
    """What came while the loop was blocked is read before anybody is held to be late."""

    async def scenario() -> str:
        loop = asyncio.get_running_loop()
        arrival: asyncio.Future[str] = loop.create_future()

        def hop(left: int) -> None:
            if left:
                loop.call_soon(hop, left - 1)
            else:
                arrival.set_result("z")

        def blocked() -> None:
            block(60)
            hop(hops)

        async def source() -> AsyncIterator[str]:
            for text in first:
                yield text
            yield await arrival

        result = await l0(stream=source, retry=ONCE)
        loop.call_later(1, blocked)
        return await result.text()

    assert run(scenario()) == "".join(first) + "z"


def test_a_blocked_loop_after_the_answer_is_whole() -> None:
    """A body that is held open ends the session also when the loop was blocked past that moment."""

    async def scenario() -> float:
        result = await l0(stream=lambda: paced("a", L0Event(EventType.COMPLETE), 10**6))
        await settle()
        block(10)
        assert await result.text() == "a"
        return now()

    assert run(scenario()) < 11


def test_no_timeout_is_reported_while_a_stream_is_closed() -> None:
    """The clocks stop with the last item: a stream that takes its time to close is not late."""
    told: list[Any] = []

    class Slow:
        def __init__(self) -> None:
            self.left = ["b", "a"]
            self.closed = False

        def __aiter__(self) -> Slow:
            return self

        async def __anext__(self) -> str:
            if not self.left:
                raise StopAsyncIteration
            return self.left.pop()

        async def aclose(self) -> None:
            """Take longer than any clock."""
            await asyncio.sleep(0.5)
            self.closed = True

    stream = Slow()

    async def scenario() -> None:
        async with ActorSystem() as system:
            system.attach(told.append, name="told", subscribes=(TimeoutFired,))
            limits = TimeoutConfig(initial_token_ms=100, inter_token_ms=100, content_ms=100)
            assert await (await system.l0(stream=lambda: stream, timeout=limits)).text() == "ab"

    run(scenario())
    assert stream.closed
    assert told == []


def test_a_timeout_is_told_with_its_clock() -> None:
    """Each timeout is published once, with the clock, the limit and the measured wait."""
    told: list[TimeoutFired] = []

    async def scenario() -> None:
        async with ActorSystem() as system:
            system.attach(told.append, name="told", subscribes=(TimeoutFired,))
            limits = TimeoutConfig(initial_token_ms=100, inter_token_ms=200)
            await consume(await system.l0(stream=lambda: paced("a", 10**6), timeout=limits, retry=QUICK))

    run(scenario())
    assert len(told) == 7
    assert {(each.clock, each.limit_ms, round(each.waited_ms)) for each in told} == {
        ("inter_token", 200, 200)
    }


def test_no_timer_outlives_its_session() -> None:
    """A session that is over has no timer left, however it ended: `run` fails if there is one."""

    async def scenario() -> None:
        for leave in (True, False):
            result = await l0(stream=lambda: paced("a", 0.01, "b"))
            async for _ in result:
                if leave:
                    break
            await result.aclose()

    run(scenario())


def test_an_iterator_that_blocks_its_thread() -> None:
    """A blocking iterator that hangs in its thread times out like any other, in real time."""
    release = threading.Event()
    made: list[int] = []

    def blocking() -> Iterator[str]:
        made.append(1)
        yield "a"
        if len(made) == 1:
            release.wait(30)
        yield "b"

    async def scenario() -> Seen:
        limits = TimeoutConfig(initial_token_ms=10_000, inter_token_ms=100)
        return await consume(await l0(stream=blocking, timeout=limits, retry=RetryConfig(base_delay_ms=1)))

    try:
        seen = asyncio.run(scenario())
    finally:
        release.set()
    assert seen.text == "ab"
    assert [error.code for error in seen.result.errors][:1] == [ErrorCode.INTER_TOKEN_TIMEOUT]  # type: ignore[attr-defined]


def test_a_source_that_was_cancelled_by_others() -> None:
    """A cancellation that comes out of the source is its failure, is retried and counts."""

    async def source() -> AsyncIterator[str]:
        yield "a"
        raise asyncio.CancelledError

    async def scenario() -> Seen:
        return await consume(await l0(stream=source, retry=QUICK))

    seen = run(scenario())
    assert isinstance(seen.error, L0Error)
    assert (seen.error.code, len(seen.result.attempts)) == (ErrorCode.PROVIDER_ERROR, 1 + QUICK.attempts)
    assert "cancelled, and not by l0actors" in str(seen.error)
