"""Bad input: one clear error with the value, at once, and the source is not called again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from session_kit import Bench, bench, consume, nothing_left, pieces
from virtual_time import run

from l0actors import Attempt, ErrorCode, L0Error, L0Options, RetryConfig, Source, TimeoutConfig, l0
from l0actors.providers.openai import OpenAIAdapter
from l0actors.testing import Reply, Send


def good() -> AsyncIterator[str]:
    """Open a stream of one piece."""
    return pieces("a")


BAD: list[tuple[dict[str, Any], str]] = [
    ({"stream": None}, "stream must be a callable"),
    ({"stream": "text"}, "stream must be a callable.*str"),
    ({"stream": ["a"]}, "stream must be a callable.*list"),
    ({"fallbacks": good}, "fallbacks must be a list or tuple"),
    ({"fallbacks": [None]}, r"fallbacks\[0\] must be a callable.*NoneType"),
    ({"fallbacks": [good, 7]}, r"fallbacks\[1\] must be a callable.*int"),
    ({"retry": 3}, "retry must be a RetryConfig, got 3"),
    ({"retry": {"attempts": 3}}, "retry must be a RetryConfig"),
    ({"timeout": 5000}, "timeout must be a TimeoutConfig, got 5000"),
    ({"delivery": "fast"}, "delivery must be one of live, append, checked, final, got 'fast'"),
    ({"delivery": None}, "delivery must be one of .*None"),
    ({"on_event": "print"}, "on_event must be callable or None, got 'print'"),
    ({"meta": 7}, "meta must be a Mapping, got 7"),
    ({"meta": {"lock": pieces()}}, "meta must hold data that can be copied"),
    ({"buffer_tokens": 0}, "buffer_tokens must be >= 1, got 0"),
    ({"buffer_tokens": 1.5}, "buffer_tokens must be a whole number, got 1.5"),
    ({"buffer_tokens": True}, "buffer_tokens must be a whole number, got True"),
    ({"max_content_chars": 0}, "max_content_chars must be >= 1, got 0"),
    ({"raw_chunks": "yes"}, "raw_chunks must be a bool, got 'yes'"),
]
MAKERS: list[tuple[Any, dict[str, Any], str]] = [
    (RetryConfig, {"attempts": -1}, "retry.attempts must be >= 0, got -1"),
    (RetryConfig, {"max_retries": "6"}, "retry.max_retries must be a whole number, got '6'"),
    (RetryConfig, {"base_delay_ms": float("nan")}, "retry.base_delay_ms must be a number, got nan"),
    (RetryConfig, {"max_delay_ms": -5}, "retry.max_delay_ms must be >= 0, got -5"),
    (RetryConfig, {"strategy": "random"}, "retry.strategy must be one of .*got 'random'"),
    (RetryConfig, {"should_retry": 1}, "retry.should_retry must be callable or None, got 1"),
    (RetryConfig, {"per_error_delay_ms": {"nope": 1}}, "per_error_delay_ms keys .*'nope'"),
    (TimeoutConfig, {"initial_token_ms": 0}, "timeout.initial_token_ms must be > 0, got 0"),
    (TimeoutConfig, {"inter_token_ms": -1}, "timeout.inter_token_ms must be >"),
    (TimeoutConfig, {"content_ms": "1s"}, "timeout.content_ms must be a number, got '1s'"),
    (TimeoutConfig, {"total_ms": float("inf")}, "timeout.total_ms must be a number, got inf"),
    (Source, {"open": 7}, "source.open must be a callable"),
    (Source, {"open": good, "name": 7}, "source.name must be .*got 7"),
    (Source, {"open": good, "continuation": "magic"}, "source.continuation must be one of .*'magic'"),
]


@pytest.mark.parametrize(("fields", "says"), BAD, ids=lambda value: str(value)[:40])
def test_a_bad_option(fields: dict[str, Any], says: str) -> None:
    """`l0()` refuses a bad value when it is called, naming the option and the value; nothing is opened."""

    async def scenario() -> None:
        with pytest.raises(ValueError, match=says):
            await l0(**{"stream": good, **fields})
        with pytest.raises(ValueError, match=says):
            await l0(L0Options(stream=good), **fields)

    run(scenario())


@pytest.mark.parametrize(("kind", "fields", "says"), MAKERS, ids=lambda value: str(value)[:40])
def test_a_bad_config(kind: Any, fields: dict[str, Any], says: str) -> None:
    """A config refuses a bad value when it is made."""
    with pytest.raises(ValueError, match=says):
        kind(**fields)


def test_calls_that_make_no_sense() -> None:
    """No stream, no such field, options of the wrong type, a feature that is not there: each says so."""

    async def scenario() -> None:
        with pytest.raises(ValueError, match="stream="):
            await l0()
        with pytest.raises(TypeError, match="stram"):
            await l0(stream=good, stram=good)
        with pytest.raises(ValueError, match="options must be a L0Options"):
            await l0(good)  # type: ignore[arg-type]
        for fields in ({"guardrails": [1]}, {"drift": True}, {"continuation": True}, {"delivery": "checked"}):
            with pytest.raises(L0Error, match=next(iter(fields))) as raised:
                await l0(stream=good, **fields)
            assert raised.value.code is ErrorCode.FEATURE_NOT_ENABLED

    run(scenario())


class Counted:
    """A factory that counts its calls."""

    def __init__(self, opens: Any) -> None:
        self.calls = 0
        self._opens = opens

    def __call__(self) -> Any:
        """Open."""
        self.calls += 1
        return self._opens()


async def nothing() -> None:
    """Return nothing."""


def raising(error: BaseException) -> Any:
    """Return a function that raises."""

    def opens() -> Any:
        raise error

    return opens


NO_STREAMS: list[tuple[str, Any, str]] = [
    ("None", lambda: None, "NoneType"),
    ("int", lambda: 5, "int"),
    ("str", lambda: "a whole text", "str.*a stream is an iterator of pieces"),
    ("bytes", lambda: b"x", "bytes"),
    ("dict", lambda: {"a": 1}, "dict"),
    ("object", object, "object"),
    ("class", lambda: int, "type"),
    ("function", lambda: good, r"function.*call it"),
    ("coroutine", nothing, "NoneType"),
    ("coroutine of int", lambda: asyncio.sleep(0, 5), "int"),
]


@pytest.mark.parametrize(("name", "opens", "says"), NO_STREAMS, ids=[case[0] for case in NO_STREAMS])
def test_a_stream_that_is_no_stream(name: str, opens: Any, says: str) -> None:
    """What cannot be iterated fails at once, with its type, and neither a retry nor a fallback is tried."""
    factory, fallback = Counted(opens), Counted(good)

    async def scenario() -> None:
        result = await l0(stream=factory, fallbacks=[fallback])
        with pytest.raises(L0Error, match=says) as raised:
            await result.text()
        assert raised.value.code is ErrorCode.ADAPTER_NOT_FOUND
        assert asyncio.get_running_loop().time() == 0

    run(scenario())
    assert (factory.calls, fallback.calls) == (1, 0)


ITEMS: list[tuple[Any, str]] = [
    (5, "int"),
    (b"x", "bytes.*decode it"),
    (None, "NoneType"),
    (object(), "object"),
]


@pytest.mark.parametrize(("item", "says"), ITEMS, ids=["int", "bytes", "None", "object"])
def test_items_that_are_no_items(item: Any, says: str) -> None:
    """A stream of something that is neither text nor event nor dict fails at once, with its type."""

    async def source() -> AsyncIterator[Any]:
        yield "a"
        yield item

    factory = Counted(source)

    async def scenario() -> None:
        seen = await consume(await l0(stream=factory))
        assert isinstance(seen.error, L0Error)
        assert seen.error.code is ErrorCode.INVALID_STREAM
        assert says.split(".*", maxsplit=1)[0] in str(seen.error)

    run(scenario())
    assert factory.calls == 1


MISTAKES = [
    TypeError("bad call"),
    KeyError("key"),
    AttributeError("attribute"),
    ZeroDivisionError("division"),
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("later", [False, True])
def test_a_factory_that_is_wrong(mistake: Exception, later: bool) -> None:
    """A mistake in the factory is told at once, as the cause, and is not retried."""

    async def fails_later() -> Any:
        raise mistake

    factory = Counted(fails_later if later else raising(mistake))

    async def scenario() -> None:
        result = await l0(stream=factory)
        with pytest.raises(L0Error, match=type(mistake).__name__) as raised:
            await result.text()
        assert raised.value.code is ErrorCode.INVALID_STREAM
        assert raised.value.__cause__ is mistake
        assert asyncio.get_running_loop().time() == 0

    run(scenario())
    assert factory.calls == 1


def test_a_factory_that_needs_too_much() -> None:
    """A factory is called with nothing or with the attempt: one that needs more fails with its TypeError."""

    async def scenario() -> None:
        result = await l0(stream=lambda one, two: good())
        with pytest.raises(L0Error, match="two") as raised:
            await result.text()
        assert isinstance(raised.value.__cause__, TypeError)
        assert len(result.attempts) == 1

    run(scenario())


def test_a_factory_that_takes_the_attempt() -> None:
    """A factory that needs an argument is told the attempt: number, source and reason."""
    told: list[tuple[str, Attempt]] = []

    def source(name: str, error: Exception | None) -> Any:
        def opens(attempt: Attempt) -> AsyncIterator[str]:
            told.append((name, attempt))
            return pieces("a", error=error)

        return opens

    async def scenario() -> None:
        result = await l0(
            stream=Source(source("one", ConnectionError("cut")), name="first"),
            fallbacks=[source("two", None)],
            retry=RetryConfig(max_retries=1, base_delay_ms=1),
        )
        assert await result.text() == "a"
        assert result.state.source == "fallback-1"
        assert [record.source for record in result.attempts] == ["first", "first", "fallback-1"]

    run(scenario())
    assert [(name, a.number, a.source, a.source_index, a.reason, a.prefix) for name, a in told] == [
        ("one", 1, "first", 0, "first", ""),
        ("one", 2, "first", 0, "retry", ""),
        ("two", 3, "fallback-1", 1, "fallback", ""),
    ]


@pytest.mark.parametrize("adapter", ["nope", 7, object()], ids=["name", "int", "object"])
def test_an_unknown_adapter(adapter: Any) -> None:
    """An adapter that does not exist is told with the known ones, before any request is made."""
    factory = Counted(good)

    async def scenario() -> None:
        with pytest.raises(L0Error, match="openai, anthropic, plain") as raised:
            await (await l0(stream=factory, adapter=adapter)).text()
        assert raised.value.code is ErrorCode.ADAPTER_NOT_FOUND
        assert asyncio.get_running_loop().time() == 0
        await nothing_left()

    run(scenario())
    assert factory.calls == 0


def test_a_limit_on_the_content() -> None:
    """An answer that grows beyond `max_content_chars` fails at once; its consumer has no more than that."""
    factory = Counted(lambda: pieces("abc", "def", "ghi"))

    async def scenario() -> None:
        seen = await consume(await l0(stream=factory, max_content_chars=7))
        assert isinstance(seen.error, L0Error)
        assert seen.error.code is ErrorCode.CONTENT_LIMIT
        assert len(seen.text) <= 7
        assert (
            await (await l0(stream=lambda: pieces("abc", "def", "g"), max_content_chars=7)).text()
            == "abcdefg"
        )

    run(scenario())
    assert factory.calls == 1


@pytest.fixture(scope="module")
def b() -> Iterator[Bench]:
    """Share one provider and one client of each SDK."""
    with bench() as made:
        yield made


def test_a_whole_completion(b: Bench) -> None:
    """An answer that was not streamed is refused with the advice to stream it, after one request."""
    b.answers["whole"] = lambda _: Reply("all at once")
    opens: list[Any] = [
        lambda: b.openai.chat.completions.create(model="whole", messages=[]),
        lambda: b.openai.responses.create(model="whole", input="x"),
        lambda: b.anthropic.messages.create(model="whole", messages=[], max_tokens=9),
    ]

    async def scenario() -> None:
        for each in opens:
            factory = Counted(each)
            with pytest.raises(L0Error, match="stream=True") as raised:
                await (await l0(stream=factory)).text()
            assert raised.value.code is ErrorCode.ADAPTER_NOT_FOUND
            assert factory.calls == 1

    b.run(scenario())


def test_several_choices(b: Bench) -> None:
    """A chat with n > 1 is refused, once, with a way out; text of two choices is never mixed."""
    choice = {"index": 1, "delta": {"content": "other"}, "finish_reason": None}
    chunk = {"id": "x", "object": "chat.completion.chunk", "model": "m", "created": 1, "choices": [choice]}
    second = f"data: {json.dumps(chunk)}\n\n".encode()

    def answer(_: int) -> Reply:
        return Reply("one two three", fault=Send(second, after_tokens=2))

    async def scenario() -> None:
        seen = await consume(await l0(stream=b.source("chat", answer)))
        assert isinstance(seen.error, L0Error)
        assert seen.error.code is ErrorCode.INVALID_STREAM
        assert "n > 1" in str(seen.error)
        assert len(seen.result.attempts) == 1
        chosen = await l0(stream=b.source("chat", answer), adapter=OpenAIAdapter(choice_index=0))
        assert await chosen.text() == "one two three"

    b.run(scenario())
