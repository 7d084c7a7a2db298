"""Which adapter reads a stream."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from provider_wires import MODEL, chat, messages, open_chat, open_messages, openai_client

from l0actors.errors import ErrorCode, L0Error
from l0actors.events import EventType, L0Event
from l0actors.providers import OpenAIAdapter, PlainAdapter, detect_adapter, register_adapter


class Shout:
    """An adapter as a user writes it."""

    name = "shout"

    def __init__(self, answer: Any = True) -> None:
        self.answer = answer

    def detect(self, stream: Any) -> bool:
        if isinstance(self.answer, Exception):
            raise self.answer
        return bool(self.answer)

    async def wrap(self, stream: Any) -> AsyncIterator[L0Event]:
        yield L0Event(EventType.COMPLETE)


@pytest.fixture
def shout() -> Iterator[Shout]:
    """A registered adapter."""
    adapter = Shout()
    undo = register_adapter(adapter)
    yield adapter
    undo()


def test_a_registered_adapter_takes_priority(shout: Shout) -> None:
    """A registered adapter is asked before the built-in ones, the newest first."""
    assert detect_adapter(["a"]) is shout
    newer = Shout()
    undo = register_adapter(newer)
    assert detect_adapter(["a"]) is newer
    undo()
    assert detect_adapter(["a"]) is shout


def test_a_registration_can_be_undone() -> None:
    """What `register_adapter` returns removes the adapter, and may be called twice."""
    undo = register_adapter(Shout())
    undo()
    undo()
    assert detect_adapter(["a"]).name == "plain"


def test_a_registered_adapter_may_replace_a_built_in_one() -> None:
    """A name belongs to the newest adapter that has it."""
    mine = OpenAIAdapter(choice_index=1)
    undo = register_adapter(mine)
    assert detect_adapter(object(), "openai") is mine
    undo()
    assert detect_adapter(object(), "openai") is not mine


def test_an_adapter_that_declines_is_passed_over() -> None:
    """An adapter that does not detect a stream, or fails to look, does not get it."""
    for answer in (False, RuntimeError("cannot look")):
        undo = register_adapter(Shout(answer))
        assert detect_adapter(["a"]).name == "plain"
        undo()


@pytest.mark.parametrize(
    ("adapter", "error", "message"),
    [
        (Shout, TypeError, "an instance, got the class Shout"),
        (object(), TypeError, "adapter.name must be a str, got None"),
        (type("A", (), {"name": 3})(), TypeError, "got 3"),
        (type("A", (Shout,), {"name": ""})(), ValueError, "must not be empty"),
        (type("A", (), {"name": "a"})(), TypeError, "adapter.detect must be a method, got None"),
        (type("A", (Shout,), {"wrap": 3})(), TypeError, "adapter.wrap must be a method, got 3"),
    ],
)
def test_what_is_no_adapter_is_refused(adapter: Any, error: type[Exception], message: str) -> None:
    """`register_adapter` refuses what is no adapter, with the value."""
    with pytest.raises(error, match=message):
        register_adapter(adapter)


async def test_sdk_streams_are_known_by_their_class() -> None:
    """The SDKs' stream classes are detected without a look at their items."""
    assert detect_adapter(await open_chat(chat("x"))).name == "openai"
    assert detect_adapter(await open_messages(messages("x"))).name == "anthropic"


def test_a_hint_is_taken_without_a_look() -> None:
    """A hint names an adapter or is one."""
    mine = Shout(answer=False)
    assert detect_adapter(None, mine) is mine
    assert detect_adapter(None, "anthropic").name == "anthropic"


@pytest.mark.parametrize(
    ("hint", "message"),
    [("gemini", "no adapter is named 'gemini'"), (3, "3 is no adapter"), (PlainAdapter, "is no adapter")],
)
def test_an_unknown_hint_names_the_known_adapters(hint: Any, message: str) -> None:
    """A hint that leads nowhere is ADAPTER_NOT_FOUND and lists the adapters there are."""
    with pytest.raises(L0Error, match=message) as failed:
        detect_adapter(["a"], hint)
    assert failed.value.code is ErrorCode.ADAPTER_NOT_FOUND
    assert "known adapters: openai, anthropic, plain" in str(failed.value)
    assert not failed.value.recoverable


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        ("text", r"no adapter reads str \(a stream is an iterator"),
        (b"bytes", "no adapter reads bytes"),
        ({"a": 1}, "no adapter reads dict"),
        (None, "no adapter reads NoneType;"),
        (3, "no adapter reads int;"),
        (list, r"no adapter reads type \(call it\)"),
        (lambda: 3, r"no adapter reads function \(call it\)"),
    ],
)
def test_what_is_no_stream_is_named(stream: Any, message: str) -> None:
    """A stream that nobody reads is ADAPTER_NOT_FOUND with its type and what to do."""
    with pytest.raises(L0Error, match=message) as failed:
        detect_adapter(stream)
    assert failed.value.code is ErrorCode.ADAPTER_NOT_FOUND


async def test_a_coroutine_is_to_be_awaited() -> None:
    """A coroutine is not a stream yet."""

    async def opening() -> None: ...

    coroutine = opening()
    with pytest.raises(L0Error, match="await it first"):
        detect_adapter(coroutine)
    coroutine.close()


async def test_a_whole_answer_is_no_stream() -> None:
    """A forgotten `stream=True` is told apart from a stream, although the answer can be iterated."""
    document = (
        b'{"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [{"index": 0,'
        b'"finish_reason": "stop", "message": {"role": "assistant", "content": "x"}}]}'
    )
    client = openai_client(document, "application/json")
    answer = await client.chat.completions.create(model=MODEL, messages=[])
    with pytest.raises(L0Error, match="pass stream=True"):
        detect_adapter(answer)
