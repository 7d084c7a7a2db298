"""Adapters as users write and use them."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from provider_wires import MODEL, chat, open_chat, read

from l0actors.errors import ErrorCode, L0Error
from l0actors.events import EventType, L0Event, fold
from l0actors.providers import Adapter, EventDecoder, OpenAIAdapter, PlainAdapter, decoder_for


class Yields:
    """An adapter that yields the items of the stream as they are."""

    name = "yields"

    def detect(self, stream: Any) -> bool:
        return False

    async def wrap(self, stream: Any) -> AsyncIterator[Any]:
        for item in stream:
            yield item


COMPLETE = L0Event(
    EventType.COMPLETE, usage={"output_tokens": 1}, data={"finish_reason": "stop", "model": MODEL}
)


def test_the_built_in_adapters_are_adapters() -> None:
    """A user's adapter and the built-in ones have one protocol."""
    for adapter in (Yields(), PlainAdapter(), OpenAIAdapter()):
        assert isinstance(adapter, Adapter)
    assert not isinstance(object(), Adapter)


async def test_complete_is_the_word_of_a_users_adapter() -> None:
    """A COMPLETE ends the attempt well, with its usage, and is not passed on."""
    seen = await read([L0Event(EventType.TOKEN, "a"), "b", COMPLETE], Yields())
    assert (seen.text, seen.decoder.finish_reason, seen.decoder.model) == ("ab", "stop", MODEL)
    assert seen.decoder.usage == {"output_tokens": 1}
    assert EventType.COMPLETE not in {event.type for event in seen.events}


async def test_without_complete_the_answer_is_cut_off() -> None:
    """A user's adapter that ends without COMPLETE is STREAM_TRUNCATED, and the message says why."""
    with pytest.raises(L0Error, match=r"must yield .*COMPLETE") as failed:
        await read([L0Event(EventType.TOKEN, "a")], Yields())
    assert failed.value.code is ErrorCode.STREAM_TRUNCATED


@pytest.mark.parametrize("item", [{"type": "token", "value": "x"}, None, 3, b"x"])
async def test_a_users_adapter_yields_events(item: Any) -> None:
    """What is neither an L0Event nor a str is INVALID_STREAM."""
    with pytest.raises(L0Error, match="must yield L0Event or str") as failed:
        await read([item], Yields())
    assert failed.value.code is ErrorCode.INVALID_STREAM


async def test_an_error_event_of_a_users_adapter_raises() -> None:
    """An ERROR event raises its error."""
    with pytest.raises(OSError, match="gone"):
        await read([L0Event(EventType.ERROR, error=OSError("gone"))], Yields())


def test_each_attempt_has_its_own_decoder() -> None:
    """Decoders are not shared."""
    assert isinstance(decoder_for(Yields()), EventDecoder)
    assert decoder_for(PlainAdapter()) is not decoder_for(PlainAdapter())


async def test_wrap_gives_events_and_complete() -> None:
    """A built-in adapter's `wrap` yields L0Events, a COMPLETE last, and closes the stream."""
    stream = await open_chat(chat("Hi", " you"))
    events = [event async for event in OpenAIAdapter().wrap(stream)]
    assert fold(events) == "Hi you"
    assert events[-1].type is EventType.COMPLETE
    assert events[-1].data == {"finish_reason": "stop", "model": MODEL}
    assert stream.response.is_closed


async def test_wrap_knows_the_truth_about_the_end() -> None:
    """`wrap` raises where the runtime would."""
    with pytest.raises(L0Error) as failed:
        async for _ in OpenAIAdapter().wrap(await open_chat(chat("Hi", finish=None))):
            pass
    assert failed.value.code is ErrorCode.STREAM_TRUNCATED


async def test_leaving_wrap_early_closes_the_stream() -> None:
    """A consumer that stops reading `wrap` closes the provider's connection."""
    stream = await open_chat(chat("Hi", " you"))
    events = OpenAIAdapter().wrap(stream)
    await events.__anext__()
    await events.aclose()  # type: ignore[attr-defined]
    assert stream.response.is_closed


async def test_wrap_forgives_a_failure_after_the_answer() -> None:
    """An exception after the answer is whole is a good end."""

    async def source() -> AsyncIterator[Any]:
        async for item in await open_chat(chat("Hi")):
            yield item
        raise ConnectionResetError("too late to matter")

    events = [event async for event in OpenAIAdapter().wrap(source())]
    assert [event.type for event in events] == [EventType.TOKEN, EventType.COMPLETE]


async def test_wrap_forgives_an_error_event_after_the_answer() -> None:
    """An error that comes as an item after the answer is whole is a good end too."""
    body = chat("Hi").replace(b"data: [DONE]", b'data: {"type": "error", "code": "server_error"}')
    events = [event async for event in OpenAIAdapter().wrap(await open_chat(body))]
    assert [event.type for event in events] == [EventType.TOKEN, EventType.COMPLETE]


async def test_wrap_reads_a_plain_list() -> None:
    """`wrap` alone reads a blocking iterable too."""
    events = [event async for event in PlainAdapter().wrap(["a", "b"])]
    assert fold(events) == "ab"
