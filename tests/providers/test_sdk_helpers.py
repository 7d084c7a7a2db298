"""The SDKs' `.stream()` helpers and their synchronous clients."""

from typing import Any

import pytest
from provider_wires import (
    MODEL,
    anthropic_client,
    chat,
    messages,
    open_chat,
    open_messages,
    open_responses,
    openai_client,
    read,
    responses,
    sync_anthropic_client,
    sync_openai_client,
)

from l0actors.errors import ErrorCode, L0Error
from l0actors.providers import close_stream, decoder_for, detect_adapter, enter, items_for
from l0actors.providers.opening import unwrapped

CHAT, RESPONSES, MESSAGES = chat("Hi", " you"), responses("Hi", " you"), messages("Hi", " you")


def chat_helper(body: bytes) -> Any:
    """`chat.completions.stream()`."""
    return openai_client(body).chat.completions.stream(model=MODEL, messages=[])


def responses_helper(body: bytes) -> Any:
    """`responses.stream()`."""
    return openai_client(body).responses.stream(model=MODEL, input="x")


def messages_helper(body: bytes) -> Any:
    """`messages.stream()`."""
    return anthropic_client(body).messages.stream(model=MODEL, messages=[], max_tokens=9)


def sync_chat(body: bytes) -> Any:
    """A synchronous chat stream."""
    return sync_openai_client(body).chat.completions.create(model=MODEL, messages=[], stream=True)


def sync_responses(body: bytes) -> Any:
    """A synchronous responses stream."""
    return sync_openai_client(body).responses.create(model=MODEL, input="x", stream=True)


def sync_messages(body: bytes) -> Any:
    """A synchronous messages stream."""
    return sync_anthropic_client(body).messages.create(model=MODEL, messages=[], max_tokens=9, stream=True)


def sync_chat_helper(body: bytes) -> Any:
    """The synchronous `chat.completions.stream()`."""
    return sync_openai_client(body).chat.completions.stream(model=MODEL, messages=[])


def sync_responses_helper(body: bytes) -> Any:
    """The synchronous `responses.stream()`."""
    return sync_openai_client(body).responses.stream(model=MODEL, input="x")


def sync_messages_helper(body: bytes) -> Any:
    """The synchronous `messages.stream()`."""
    return sync_anthropic_client(body).messages.stream(model=MODEL, messages=[], max_tokens=9)


OTHER_WAYS = [
    (chat_helper, CHAT, "openai"),
    (responses_helper, RESPONSES, "openai"),
    (messages_helper, MESSAGES, "anthropic"),
    (sync_chat, CHAT, "openai"),
    (sync_responses, RESPONSES, "openai"),
    (sync_messages, MESSAGES, "anthropic"),
    (sync_chat_helper, CHAT, "openai"),
    (sync_responses_helper, RESPONSES, "openai"),
    (sync_messages_helper, MESSAGES, "anthropic"),
]


@pytest.mark.parametrize(("opening", "body", "adapter"), OTHER_WAYS)
async def test_every_way_to_stream_is_read(opening: Any, body: bytes, adapter: str) -> None:
    """Helpers and synchronous streams give the same text, once, as the plain async ones."""
    seen = await read(opening(body))
    assert (seen.adapter, seen.text, seen.decoder.model) == (adapter, "Hi you", MODEL)
    assert seen.decoder.finished


@pytest.mark.parametrize(("opening", "body", "adapter"), OTHER_WAYS)
async def test_every_way_knows_a_cut(opening: Any, body: bytes, adapter: str) -> None:
    """A clean end in the middle of the answer is STREAM_TRUNCATED in all of them."""
    cut = body.index(b'you"')
    with pytest.raises(L0Error) as failed:
        await read(opening(body[:cut]))
    assert failed.value.code is ErrorCode.STREAM_TRUNCATED


@pytest.mark.parametrize(("opening", "body", "adapter"), OTHER_WAYS)
async def test_every_way_knows_an_empty_answer(opening: Any, body: bytes, adapter: str) -> None:
    """A 200 without an event is STREAM_TRUNCATED in all of them."""
    with pytest.raises(L0Error) as failed:
        await read(opening(b""))
    assert failed.value.code is ErrorCode.STREAM_TRUNCATED


@pytest.mark.parametrize(("opening", "body"), [(open_responses, RESPONSES), (open_messages, MESSAGES)])
async def test_nothing_counts_after_the_end(opening: Any, body: bytes) -> None:
    """A reader that reads on to the end of the body gets nothing more, whatever comes."""
    stream = await opening(body)
    adapter = detect_adapter(stream)
    decoder = decoder_for(adapter)
    items = [item async for item in items_for(adapter, stream)]
    for item in items:
        decoder.feed(item)
    assert [decoder.feed(item) for item in (*items, None)] == [None] * (len(items) + 1)


async def _left_early(opened: Any) -> Any:
    """Read one item, close; return the SDK's stream."""
    stream = await enter(opened)
    adapter = detect_adapter(stream)
    await items_for(adapter, stream).__anext__()
    await close_stream(adapter, stream)
    return unwrapped(stream)


@pytest.mark.parametrize(
    ("opening", "body"),
    [(open_chat, CHAT), (open_responses, RESPONSES), (open_messages, MESSAGES)],
)
async def test_an_async_stream_is_closed(opening: Any, body: bytes) -> None:
    """Closing releases the response, after an item or before the first."""
    stream = await _left_early(await opening(body))
    assert stream.response.is_closed
    unread = await opening(body)
    await close_stream(detect_adapter(unread), unread)
    assert unread.response.is_closed


@pytest.mark.parametrize(
    ("opening", "body"), [(sync_chat, CHAT), (sync_responses, RESPONSES), (sync_messages, MESSAGES)]
)
async def test_a_sync_stream_is_closed(opening: Any, body: bytes) -> None:
    """Closing releases the response of a synchronous stream too, also if it was never read."""
    assert (await _left_early(opening(body))).response.is_closed
    unread = opening(body)
    stream = await enter(unread)
    await close_stream(detect_adapter(stream), stream)
    assert unread.response.is_closed


@pytest.mark.parametrize(
    ("opening", "body"), [(chat_helper, CHAT), (responses_helper, RESPONSES), (messages_helper, MESSAGES)]
)
async def test_a_helper_is_left(opening: Any, body: bytes) -> None:
    """Closing what a helper manager gave releases its response."""
    stream = await _left_early(opening(body))
    response = getattr(stream, "_response", None) or stream.response
    assert response.is_closed
