"""What a result can be asked for, in virtual time."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import AsyncIterator, Callable

import pytest
from session_kit import QUICK, consume, pieces
from virtual_time import run

from l0actors import (
    ErrorCode,
    EventType,
    L0Error,
    L0Result,
    Phase,
    RetryConfig,
    RolledBackError,
    Transition,
    consume_stream,
    fold,
    get_text,
    l0,
)


def diverging() -> Callable[[], AsyncIterator[str]]:
    """Return a source that fails once and then says something else."""
    attempts = [pieces("Hello ", "wor", error=ConnectionError("cut")), pieces("Hello ", "you")]
    return lambda: attempts.pop(0)


def test_iterating_twice() -> None:
    """A result can be iterated over once; the second time raises, at the call."""

    async def scenario() -> None:
        result = await l0(stream=lambda: pieces("a"))
        assert [event.value async for event in result] == ["a", None]
        with pytest.raises(RuntimeError, match="once"):
            result.__aiter__()
        with pytest.raises(RuntimeError, match="once"):
            [text async for text in result.texts()]

    run(scenario())


def test_two_iterators_at_once() -> None:
    """While somebody iterates, nobody else can, and `text()` says so."""

    async def scenario() -> None:
        result = await l0(stream=lambda: pieces("a", "b"))
        async for event in result:
            with pytest.raises(RuntimeError, match="once"):
                result.__aiter__()
            if event.type is EventType.TOKEN:
                with pytest.raises(RuntimeError, match="once"):
                    await result.text()
        assert await result.text() == "ab"

    run(scenario())


def test_stream_is_the_same_iterator() -> None:
    """`.stream` is one iterator: two loops over it share the events."""

    async def scenario() -> None:
        result = await l0(stream=lambda: pieces("a", "b", "c"))
        stream = result.stream
        assert result.stream is stream
        first = await stream.__anext__()
        rest = [event async for event in stream]
        assert fold([first, *rest]) == "abc"
        del stream
        with pytest.raises(RuntimeError, match="once"):
            _ = result.stream

    run(scenario())


def test_text_and_its_twins() -> None:
    """`text()`, as often as it is asked, `get_text`, `consume_stream` and `fold` agree."""

    async def scenario() -> None:
        result = await l0(stream=diverging(), retry=QUICK)
        assert (await result.text(), await result.text(), await get_text(result)) == ("Hello you",) * 3
        other = await l0(stream=diverging(), retry=QUICK)
        assert await consume_stream(other) == "Hello you"
        assert await other.text() == "Hello you"

    run(scenario())


def test_text_of_a_failed_session() -> None:
    """`text()` raises the session's error, each time the same."""

    async def scenario() -> None:
        result = await l0(
            stream=lambda: pieces("a", error=ConnectionError("cut")), retry=RetryConfig(max_retries=0)
        )
        with pytest.raises(L0Error) as first:
            await result.text()
        with pytest.raises(L0Error) as second:
            await result.text()
        assert first.value is second.value is result.errors[-1]
        assert isinstance(first.value.__cause__, ConnectionError)

    run(scenario())


def test_texts() -> None:
    """`texts()` yields the pieces; a rollback raises, with what is kept, unless it can be told."""

    async def scenario() -> None:
        result = await l0(stream=lambda: pieces("a", "b"))
        assert [text async for text in result.texts()] == ["a", "b"]

        result = await l0(stream=diverging(), retry=QUICK)
        got: list[str] = []
        with pytest.raises(RolledBackError) as raised:  # noqa: PT012 - what came before counts
            async for text in result.texts():
                got.append(text)  # noqa: PERF401 - it raises in the middle
        assert (got, raised.value.keep) == (["Hello ", "wor"], 6)
        await result.aclose()

        got.clear()
        result = await l0(stream=diverging(), retry=QUICK)

        def rolled_back(keep: int) -> None:
            got[:] = ["".join(got)[:keep]]

        async for text in result.texts(on_rollback=rolled_back):
            got.append(text)  # noqa: PERF401 - it is changed meanwhile
        assert "".join(got) == "Hello you"

    run(scenario())


def test_errors_and_attempts() -> None:
    """Every attempt has a record, every failed one an error, oldest first, with its cause and context."""
    causes = [ConnectionError("one"), ConnectionError("two")]
    attempts = [pieces("a", error=causes[0]), pieces("a", "b", error=causes[1]), pieces("a", "b", "c")]

    async def scenario() -> L0Result:
        result = await l0(stream=lambda: attempts.pop(0), retry=QUICK)
        await consume(result)
        return result

    result = run(scenario())
    assert [error.__cause__ for error in result.errors] == causes
    assert [record.error for record in result.attempts] == [*result.errors, None]
    assert [record.outcome for record in result.attempts] == ["failed", "failed", "completed"]
    assert [record.tokens for record in result.attempts] == [1, 2, 3]
    assert [record.number for record in result.attempts] == [1, 2, 3]
    for number, error in enumerate(result.errors, 1):
        assert isinstance(error, L0Error)
        context = error.context
        assert (context.attempt, context.source, context.network_retry_count) == (
            number,
            "primary",
            number - 1,
        )
        assert context.content_length == number
    for record in result.attempts:
        assert record.first_token_at is not None
        assert record.ended_at is not None
        assert record.started_at <= record.first_token_at <= record.ended_at


def test_the_stream_id() -> None:
    """A session's id is a UUIDv7 of today, and each has its own."""

    async def scenario() -> list[str]:
        results = [await l0(stream=lambda: pieces("a")) for _ in range(100)]
        for result in results:
            await result.text()
        return [result.stream_id for result in results]

    ids = run(scenario())
    assert len(set(ids)) == 100
    for each in ids:
        stream_id = uuid.UUID(each)
        assert str(stream_id) == each
        assert (stream_id.version, stream_id.variant) == (7, uuid.RFC_4122)
        made = datetime.datetime.fromtimestamp((stream_id.int >> 80) / 1000, datetime.timezone.utc)
        assert abs(datetime.datetime.now(datetime.timezone.utc) - made) < datetime.timedelta(minutes=5)


def test_the_state_of_a_whole_session() -> None:
    """After a retry and a fallback the state tells what there was, and where the text came from."""
    primary = [
        pieces("a", error=ConnectionError("cut")),
        pieces("x", error=L0Error("no", code=ErrorCode.AUTHENTICATION)),
    ]

    async def fallback() -> AsyncIterator[object]:
        yield "x"
        yield "yz"
        yield {
            "type": "complete",
            "data": {"finish_reason": "length", "model": "m"},
            "usage": {"output_tokens": 2},
        }

    async def scenario() -> L0Result:
        result = await l0(stream=lambda: primary.pop(0), fallbacks=[fallback], retry=QUICK)
        states = [result.state.phase.value]
        result.state.machine.subscribe(lambda phase, _: states.append(phase.value))
        seen = await consume(result)
        assert seen.of(EventType.COMPLETE)[0].data == {
            "finish_reason": "length",
            "model": "m",
            "source": "fallback-1",
        }
        assert seen.events[-1].usage == {"output_tokens": 2}
        assert states[0] == "idle"
        assert states[-1] == "completed"
        assert states.count("retrying") == 2
        return result

    result = run(scenario())
    state = result.state
    assert (state.content, state.token_count) == ("xyz", 2)
    assert (state.completed, state.aborted, state.phase.value) == (True, False, "completed")
    assert (state.network_retry_count, state.model_retry_count, state.fallback_index) == (1, 0, 1)
    assert (state.finish_reason, state.model, state.source) == ("length", "m", "fallback-1")
    assert state.usage == {"output_tokens": 2}
    assert [str(error.__cause__) for error in state.network_errors] == ["cut"]
    assert state.first_token_at is not None
    assert state.last_token_at is not None
    assert state.duration is not None
    assert state.first_token_at <= state.last_token_at


def test_the_error_of_several_sources() -> None:
    """When every source was tried, the error says so; the last one's own is its cause."""

    async def scenario() -> None:
        bad = [
            lambda: pieces("a", error=ConnectionError("one")),
            lambda: pieces("b", error=ConnectionError("two")),
        ]
        result = await l0(stream=bad[0], fallbacks=bad[1:], retry=RetryConfig(max_retries=0))
        with pytest.raises(L0Error, match="2 sources were tried in 2 attempts") as raised:
            await result.text()
        assert raised.value.code is ErrorCode.ALL_STREAMS_EXHAUSTED
        assert raised.value.__cause__ is result.errors[-1]
        assert [str(error.__cause__) for error in result.errors] == ["one", "two"]

    run(scenario())


@pytest.mark.parametrize("keep", [True, False])
def test_raw_chunks(keep: bool) -> None:
    """The provider's own chunks are kept, of all attempts, if they were asked for."""

    async def scenario() -> list[object]:
        result = await l0(stream=diverging(), retry=QUICK, raw_chunks=keep)
        await result.text()
        return result.raw_chunks

    assert run(scenario()) == (["Hello ", "wor", "Hello ", "you"] if keep else [])


def test_repr() -> None:
    """The repr tells the id and where the session is, and no content."""

    async def scenario() -> None:
        result = await l0(stream=lambda: pieces("secret"))
        assert "idle" in repr(result)
        await result.text()
        assert repr(result) == (
            f"L0Result({result.stream_id!r}, L0State(phase='completed', token_count=1, source='primary'))"
        )
        assert "secret" not in repr(result)

    run(scenario())


def test_a_state_listener_that_raises() -> None:
    """A listener of the state machine that raises does not touch the session."""

    async def source() -> AsyncIterator[str]:
        yield "whole"

    def listener(phase: Phase, event: Transition) -> None:
        raise RuntimeError(event)

    async def scenario() -> str:
        result = await l0(stream=source)
        result.state.machine.subscribe(listener)
        return await result.text()

    assert run(scenario()) == "whole"
