"""Plain streams: text, events and dicts, asynchronous or not."""

import itertools
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from provider_wires import MODEL, chat, feed_all, messages, open_chat, open_messages, read

from l0actors.errors import ErrorCategory, ErrorCode, L0Error
from l0actors.events import EventType, L0Event, fold
from l0actors.providers.plain import PlainDecoder


async def agen(*items: Any) -> AsyncIterator[Any]:
    """An async generator of items."""
    for item in items:
        yield item


def gen(*items: Any) -> Iterator[Any]:
    """A generator of items."""
    yield from items


class Iterable:
    """Has nothing but `__aiter__`."""

    def __aiter__(self) -> AsyncIterator[Any]:
        return agen("a", "b")


class Nexter:
    """Has nothing but `__next__`."""

    def __init__(self) -> None:
        self.left = ["b", "a"]

    def __next__(self) -> str:
        if not self.left:
            raise StopIteration
        return self.left.pop()


class AsyncNexter(Nexter):
    """Has nothing but `__anext__`."""

    async def __anext__(self) -> str:
        if not self.left:
            raise StopAsyncIteration
        return self.left.pop()


@pytest.mark.parametrize(
    "make",
    [
        lambda: agen("a", "b"),
        Iterable,
        AsyncNexter,
        lambda: ["a", "b"],
        lambda: ("a", "b"),
        lambda: gen("a", "b"),
        lambda: iter(["a", "b"]),
        Nexter,
        lambda: agen(L0Event(EventType.TOKEN, "a"), L0Event(EventType.TOKEN, "b")),
        lambda: [{"type": "token", "value": "a"}, {"type": "token", "value": "b"}],
    ],
)
async def test_every_kind_of_iterable_is_read(make: Any) -> None:
    """Whatever can be iterated, with `for` or with `async for`, is a plain stream."""
    seen = await read(make())
    assert (seen.adapter, seen.text) == ("plain", "ab")
    assert seen.decoder.finished
    assert seen.decoder.done


@given(st.text(), st.lists(st.integers(min_value=0, max_value=40)))
def test_any_split_folds_back(text: str, cuts: list[int]) -> None:
    """However a text is cut into tokens, folding them gives exactly the text."""
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    tokens = [text[start:end] for start, end in itertools.pairwise(places)]
    assert fold(feed_all(PlainDecoder(), tokens)) == text


def test_a_text_is_passed_on_as_it_is() -> None:
    """A str costs nothing: the same object comes back."""
    token = "some text"
    assert PlainDecoder().feed(token) is token


def test_a_text_of_a_derived_class_is_text() -> None:
    """A str subclass is as good as a str."""
    word = type("Word", (str,), {})("x")
    assert PlainDecoder().feed(word) == "x"


def test_an_event_that_carries_more_than_text_stays_an_event() -> None:
    """A TOKEN with data or a time is not reduced to its text."""
    event = L0Event(EventType.TOKEN, "x", timestamp=1.0)
    assert PlainDecoder().feed(event) is event
    assert PlainDecoder().feed(L0Event(EventType.TOKEN, "x")) == "x"


async def test_a_dict_without_a_known_type_is_data() -> None:
    """A dict that names no event type is a DATA event with that payload."""
    seen = await read([{"row": 1}, {"type": "image", "url": "u"}, {"type": ["odd"]}])
    assert seen.data(EventType.DATA) == [{"row": 1}, {"type": "image", "url": "u"}, {"type": ["odd"]}]


async def test_fields_of_a_dict_that_are_not_an_events_are_its_data() -> None:
    """A dict's own fields go into the event's data."""
    seen = await read([{"type": "progress", "kind": "reasoning", "text": "hm"}])
    assert seen.progress("reasoning") == [{"kind": "reasoning", "text": "hm"}]


async def test_complete_ends_the_stream() -> None:
    """A COMPLETE sets usage, finish reason and model, is not passed on, and nothing after it is read."""
    usage = {"input_tokens": 3, "output_tokens": 1}
    done = {"type": "complete", "usage": usage, "data": {"finish_reason": "length", "model": MODEL}}
    seen = await read(agen("a", done, "b"))
    assert seen.text == "a"
    assert [event.type for event in seen.events] == [EventType.TOKEN]
    assert (seen.decoder.usage, seen.decoder.finish_reason, seen.decoder.model) == (usage, "length", MODEL)


def test_nothing_counts_after_complete() -> None:
    """What is fed after a COMPLETE is ignored, whatever it is."""
    decoder = PlainDecoder()
    decoder.feed(L0Event(EventType.COMPLETE))
    assert [decoder.feed(item) for item in ("x", b"x", L0Event(EventType.TOKEN, "x"), None)] == [None] * 4


async def test_an_error_event_raises_its_error() -> None:
    """An ERROR event ends the stream with its exception."""
    with pytest.raises(ConnectionError, match="gone"):
        await read([L0Event(EventType.ERROR, error=ConnectionError("gone"))])


@pytest.mark.parametrize(
    ("item", "code", "category"),
    [
        ({"type": "error", "error": "boom"}, ErrorCode.PROVIDER_ERROR, ErrorCategory.MODEL),
        ({"type": "error", "message": "boom"}, ErrorCode.PROVIDER_ERROR, ErrorCategory.MODEL),
        (
            {"type": "error", "error": {"type": "overloaded_error", "message": "boom"}},
            ErrorCode.PROVIDER_ERROR,
            ErrorCategory.TRANSIENT,
        ),
        (L0Event(EventType.ERROR, "boom"), ErrorCode.PROVIDER_ERROR, ErrorCategory.MODEL),
    ],
)
async def test_an_error_without_an_exception_is_a_provider_error(
    item: Any, code: ErrorCode, category: ErrorCategory
) -> None:
    """An error that is only data becomes an L0Error with its words."""
    with pytest.raises(L0Error, match="boom") as failed:
        await read([item])
    assert (failed.value.code, failed.value.category) == (code, category)


async def test_the_iterators_own_exception_comes_through() -> None:
    """What the iterator raises is what the reader gets."""

    async def broken() -> AsyncIterator[str]:
        yield "a"
        raise KeyError("k")

    with pytest.raises(KeyError, match="k"):
        await read(broken())


@pytest.mark.parametrize(
    ("item", "hint"),
    [
        (b"x", "decode it"),
        (bytearray(b"x"), "decode it"),
        (3, "yields int"),
        (None, "yields NoneType"),
        (("a", 1), "yields tuple"),
        (L0Event(EventType.TOKEN), "needs its text"),
        ({"type": "token"}, "needs its text"),
        ({"type": "token", "value": 3}, "needs its text"),
        (L0Event(EventType.ROLLBACK, data={"keep": 0}), "ROLLBACK"),
        ({"type": "tool_call", "name": 3}, "TOOL_CALL"),
        ({"type": "data", "data": [1]}, "must be a dict, got list"),
    ],
)
async def test_other_items_are_refused(item: Any, hint: str) -> None:
    """An item that is no use is INVALID_STREAM, which is not retried, and says what to do."""
    with pytest.raises(L0Error, match=hint) as failed:
        await read(["a", item])
    assert failed.value.code is ErrorCode.INVALID_STREAM
    assert not failed.value.recoverable


async def test_tool_calls_are_held_back_until_the_end() -> None:
    """A whole tool call of a plain stream is released only when the stream ended well."""
    call = {"type": "tool_call", "id": "1", "name": "get", "arguments": {"q": 1}}
    text = {"type": "tool_call", "data": {"name": "put", "arguments": '{"q": 2}'}}
    seen = await read([call, text, "bye"])
    assert [event.type for event in seen.events] == [
        EventType.TOKEN,
        EventType.TOOL_CALL,
        EventType.TOOL_CALL,
    ]
    assert seen.tool_calls == [
        {"id": "1", "name": "get", "arguments": {"q": 1}, "index": 0},
        {"id": "", "name": "put", "arguments": {"q": 2}, "index": 1},
    ]


async def test_the_arguments_of_a_plain_tool_call_must_be_valid() -> None:
    """Arguments as text are held to the same rules as a provider's."""
    with pytest.raises(L0Error, match="not valid") as failed:
        await read([{"type": "tool_call", "name": "get", "arguments": '{"q": '}])
    assert failed.value.code is ErrorCode.PROVIDER_ERROR


@pytest.mark.parametrize(
    ("open_stream", "body"), [(open_chat, chat("Hi", " you")), (open_messages, messages("Hi", " you"))]
)
async def test_a_wrapped_sdk_stream_is_read_as_that_sdks(open_stream: Any, body: bytes) -> None:
    """An SDK's chunks that come through the caller's own generator keep the truth about their end."""

    async def wrapped(body: bytes) -> AsyncIterator[Any]:
        async for item in await open_stream(body):
            yield item

    seen = await read(wrapped(body))
    assert (seen.adapter, seen.text, seen.decoder.model) == ("plain", "Hi you", MODEL)
    with pytest.raises(L0Error) as failed:
        await read(wrapped(body[: body.index(b"you")]))
    assert failed.value.code is ErrorCode.STREAM_TRUNCATED
