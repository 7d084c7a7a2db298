"""Sinks beside sessions: what they do changes nothing for a consumer. And the end of a system."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from session_kit import QUICK, consume, nothing_left
from virtual_time import run

from l0actors import ActorSystem, ErrorCode, L0Error, L0Result, l0
from l0actors.actors import Actor
from l0actors.bus.messages import AttemptMessage, SessionCompleted, SessionMessage, SessionStarted, Tokens

SESSIONS = 30
EVERYTHING = (SessionMessage, AttemptMessage)
Times = list[list[tuple[float, str | None]]]


class Recording(Actor):
    """A sink that keeps what it hears."""

    subscribes = EVERYTHING

    def __init__(self) -> None:
        self.heard: list[Any] = []

    async def receive(self, message: Any) -> None:
        """Keep it."""
        self.heard.append(message)


class Hanging(Actor):
    """A sink that never comes back from its first message."""

    subscribes = EVERYTHING

    async def receive(self, message: Any) -> None:
        """Hang."""
        await asyncio.sleep(10**6)


class Crashing(Actor):
    """A sink that fails over every message."""

    subscribes = EVERYTHING

    async def receive(self, message: Any) -> None:
        """Crash."""
        raise ZeroDivisionError


class Slow(Actor):
    """A sink that takes a second for each message."""

    subscribes = EVERYTHING

    async def receive(self, message: Any) -> None:
        """Dawdle."""
        await asyncio.sleep(1)


class Unstartable(Actor):
    """A sink that does not start."""

    subscribes = EVERYTHING

    async def on_start(self, context: Any) -> None:
        """Fail."""
        raise ZeroDivisionError


def flaky(number: int) -> Any:
    """Return a source that fails once in the middle and says the same again."""
    made: list[int] = []

    async def source() -> AsyncIterator[str]:
        made.append(1)
        for piece in range(8):
            await asyncio.sleep(0.01 + number / 1000)
            if piece == 5 and len(made) == 1:
                raise ConnectionError("cut")
            yield f"{number}.{piece} "

    return source


def times_beside(sink: Any = None, **attach: Any) -> Times:
    """Return when thirty consumers got what, beside a sink."""

    async def follow(result: L0Result) -> list[tuple[float, str | None]]:
        loop = asyncio.get_running_loop()
        return [(round(loop.time(), 6), event.value) async for event in result]

    async def scenario() -> Times:
        system = await ActorSystem().start()
        if sink is not None:
            system.attach(sink, **attach)
        retry = QUICK.__class__(base_delay_ms=5, strategy="fixed")  # type: ignore[arg-type]
        results = [await system.l0(stream=flaky(number), retry=retry) for number in range(SESSIONS)]
        times = await asyncio.gather(*map(follow, results))
        await system.stop(drain=False)
        await asyncio.sleep(5)  # what the force left behind
        return times

    return run(scenario())


@pytest.fixture(scope="module")
def alone() -> Times:
    """Return when the consumers got what without any sink."""
    return times_beside()


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest", "conflate", "fail"])
@pytest.mark.parametrize("sink", [Hanging, Crashing, Slow, Unstartable])
def test_thirty_sessions_beside_a_bad_sink(alone: Times, sink: type[Actor], overflow: str) -> None:
    """A sink that hangs, crashes or dawdles changes neither what consumers get nor when it comes."""
    assert times_beside(sink, overflow=overflow, capacity=4) == alone


@pytest.mark.parametrize("sink", [Hanging, Crashing, Slow])
def test_a_block_sink_with_room_delays_nobody(alone: Times, sink: type[Actor]) -> None:
    """A sink that asked for `block` holds nobody up as long as it has room."""
    assert times_beside(sink, overflow="block", capacity=100_000) == alone


def test_a_block_sink_without_room_can_be_left() -> None:
    """A full sink that asked for `block` holds sessions up, as it asked; aborting one frees it in seconds."""

    async def scenario() -> float:
        system = await ActorSystem().start()
        system.attach(Hanging, overflow="block", capacity=3)
        result = await system.l0(stream=flaky(1))
        task = asyncio.ensure_future(consume(result))
        await asyncio.sleep(100)
        assert not task.done()
        result.abort()
        await task
        await result.aclose()
        taken = asyncio.get_running_loop().time()
        await system.stop(drain=False)
        await asyncio.sleep(5)
        return taken

    assert run(scenario()) < 104


@pytest.mark.parametrize("how", ["instance", "class", "factory", "function", "async function"])
def test_every_kind_of_sink_hears_the_session(how: str) -> None:
    """An actor, a class, a factory, a function and an async function all hear the whole session, in order."""
    heard: list[Any] = []

    class Sink(Recording):
        async def receive(self, message: Any) -> None:
            heard.append(message)

    async def function(message: Any) -> None:
        heard.append(message)

    async def scenario() -> str:
        async with ActorSystem() as system:
            if how == "instance":
                system.attach(Sink())
            elif how == "class":
                system.attach(Sink)
            elif how == "factory":
                system.attach(lambda: Sink(), subscribes=EVERYTHING)  # noqa: PLW0108 - a factory, not the class
            elif how == "function":
                system.attach(heard.append, subscribes=EVERYTHING, name="function")
            else:
                system.attach(function, subscribes=SessionMessage | AttemptMessage)
            return await (await system.l0(stream=flaky(3), retry=QUICK)).text()

    text = run(scenario())
    assert isinstance(heard[0], SessionStarted)
    assert isinstance(heard[-1], SessionCompleted)
    assert "".join(piece for m in heard if isinstance(m, Tokens) for piece in m.texts) == text
    assert [m.seq for m in heard] == sorted(m.seq for m in heard)


@pytest.mark.parametrize("bad", ["raises", "hangs", "hangs async", "raises async", "not a coroutine"])
def test_a_bad_on_event_changes_nothing(alone: Times, bad: str) -> None:
    """An `on_event` that raises or hangs is its own problem: the consumers' times stay the same."""

    def raises(_: Any) -> None:
        raise ZeroDivisionError

    async def hangs(_: Any) -> None:
        await asyncio.sleep(10**6)

    async def raises_async(_: Any) -> None:
        raise ZeroDivisionError

    def hands_over(_: Any) -> Any:
        return hangs(_)

    on_event = {
        "raises": raises,
        "hangs": hands_over,
        "hangs async": hangs,
        "raises async": raises_async,
        "not a coroutine": lambda _: 5,
    }[bad]

    async def follow(number: int) -> list[tuple[float, str | None]]:
        retry = QUICK.__class__(base_delay_ms=5, strategy="fixed")  # type: ignore[arg-type]
        result = await l0(stream=flaky(number), retry=retry, on_event=on_event)
        loop = asyncio.get_running_loop()
        return [(round(loop.time(), 6), event.value) async for event in result]

    async def scenario() -> Times:
        times = await asyncio.gather(*map(follow, range(SESSIONS)))
        await asyncio.sleep(60)
        await nothing_left()
        return times

    assert run(scenario()) == alone


# The end of a system.


async def endless() -> AsyncIterator[str]:
    """Yield for ever."""
    while True:
        yield "a"
        await asyncio.sleep(1)


async def short() -> AsyncIterator[str]:
    """Yield for two seconds."""
    yield "a"
    await asyncio.sleep(2)
    yield "b"


def test_stop_lets_sessions_finish() -> None:
    """With `drain` sessions in flight come to their own end, and the sinks have heard it."""
    sink = Recording()

    async def scenario() -> None:
        system = await ActorSystem(sinks=[sink]).start()
        tasks = [asyncio.ensure_future((await system.l0(stream=short)).text()) for _ in range(5)]
        await asyncio.sleep(0.5)
        stopping = asyncio.ensure_future(system.stop(drain=True))
        await asyncio.sleep(0.5)
        with pytest.raises(RuntimeError, match="stopped"):
            await system.l0(stream=short)
        with pytest.raises(RuntimeError, match="stopped"):
            await l0(stream=short, system=system)
        report = await stopping
        assert (report.completed, report.aborted, report.stuck) == (5, 0, ())
        assert report.duration_ms == pytest.approx(1500, abs=10)
        assert [await task for task in tasks] == ["ab"] * 5
        assert await system.stop() == report

    run(scenario())
    assert len([m for m in sink.heard if isinstance(m, SessionCompleted)]) == 5


@pytest.mark.parametrize("drain", [True, False])
def test_stop_ends_sessions_that_do_not(drain: bool) -> None:
    """What is not done in time is stopped: its consumer gets what there was, and then `STREAM_ABORTED`."""

    async def scenario() -> None:
        system = await ActorSystem().start()
        results = [await system.l0(stream=endless) for _ in range(3)]
        results.append(await system.l0(stream=short))
        tasks = [asyncio.ensure_future(consume(result)) for result in results]
        await asyncio.sleep(1.5)
        report = await system.stop(drain=drain, timeout_ms=1000)
        assert (report.completed, report.aborted) == ((1, 3) if drain else (0, 4))
        *unfinished, last = [await task for task in tasks]
        for seen in (*unfinished, *(() if drain else (last,))):
            assert isinstance(seen.error, L0Error)
            assert seen.error.code is ErrorCode.STREAM_ABORTED
            assert seen.text in ("a", "aa", "aaa")
            assert seen.result.state.aborted
            with pytest.raises(L0Error, match="system"):
                await seen.result.text()

    run(scenario())


def test_text_of_a_session_stopped_with_its_system() -> None:
    """`text()` never returns a part: a session that its system stopped raises."""

    async def scenario() -> None:
        async with ActorSystem() as system:
            result = await system.l0(stream=endless)
            text = asyncio.ensure_future(result.text())
            await asyncio.sleep(5)
            await system.stop(drain=False)
            with pytest.raises(L0Error) as raised:
                await text
            assert raised.value.code is ErrorCode.STREAM_ABORTED

    run(scenario())


def test_leaving_the_block_by_an_exception() -> None:
    """An exception that leaves the block stops the sessions at once and goes on."""

    async def scenario() -> float:
        with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the block is what is tested
            async with ActorSystem() as system:
                result = await system.l0(stream=endless)
                await asyncio.sleep(1)
                raise ZeroDivisionError
        assert result.state.aborted
        return asyncio.get_running_loop().time()

    assert run(scenario()) == pytest.approx(1, abs=0.1)
