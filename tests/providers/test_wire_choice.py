"""Which streams of the SDKs are read from their bytes, and which are left to the SDK."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from provider_wires import OPEN, WHOLE, open_chat, open_messages, read

from l0actors import l0
from l0actors.providers import close_stream, detect_adapter, items_for
from l0actors.providers.sse import ServerEvent
from l0actors.testing import WIRES, Wire


async def first_item(stream: Any, *, raw: bool = False) -> Any:
    """Return the first thing that the decoder of a stream would be fed."""
    adapter = detect_adapter(stream)
    items = items_for(adapter, stream, raw=raw)
    try:
        return await items.__anext__()
    finally:
        await close_stream(adapter, stream, items)


@pytest.mark.parametrize("wire", WIRES)
async def test_a_fresh_stream_is_read_from_its_bytes(wire: Wire) -> None:
    """Nobody else reads a stream that an SDK has just opened."""
    assert isinstance(await first_item(await OPEN[wire]([WHOLE[wire]])), ServerEvent)


@pytest.mark.parametrize("wire", WIRES)
async def test_raw_chunks_are_the_sdks_objects(wire: Wire) -> None:
    """Whoever wants to keep the chunks gets those that the SDK makes."""
    assert not isinstance(await first_item(await OPEN[wire]([WHOLE[wire]]), raw=True), ServerEvent)
    result = await l0(stream=lambda: OPEN[wire]([WHOLE[wire]]), raw_chunks=True)
    assert await result.text() == "ab"
    assert result.raw_chunks
    assert {type(chunk).__module__.split(".")[0] for chunk in result.raw_chunks} <= {"openai", "anthropic"}


@pytest.mark.parametrize("wire", WIRES)
async def test_a_started_stream_goes_on_as_it_began(wire: Wire) -> None:
    """What the caller has read of a stream is not read again, and what follows is not lost."""
    stream = await OPEN[wire]([WHOLE[wire]])
    first = await stream.__anext__()
    second = await first_item(stream)
    assert type(second).__module__.split(".")[0] == type(first).__module__.split(".")[0]


@pytest.mark.parametrize("wire", WIRES)
async def test_a_body_in_memory_is_left_to_the_sdk(wire: Wire) -> None:
    """A response whose body was read already counts as consumed."""
    assert not isinstance(await first_item(await OPEN[wire](WHOLE[wire])), ServerEvent)


@pytest.mark.parametrize("wire", WIRES)
async def test_an_instrumented_stream_is_left_to_its_instrument(wire: Wire) -> None:
    """A stream into which somebody put an iterator of their own is read through it."""
    stream = await OPEN[wire]([WHOLE[wire]])
    own = stream._iterator
    counted = []

    async def counting() -> AsyncIterator[Any]:
        async for item in own:
            counted.append(item)
            yield item

    stream._iterator = counting()
    assert (await read(stream)).text == "ab"
    assert counted


async def test_another_framing_is_left_to_the_sdk() -> None:
    """A stream whose decoder is not the SDK's own, as Bedrock's, is no event stream."""
    stream = await open_messages([WHOLE["messages"]])
    stream._decoder = type("AWSEventStreamDecoder", (type(stream._decoder),), {})()
    assert not isinstance(await first_item(stream), ServerEvent)


async def test_a_subclass_is_left_to_itself() -> None:
    """A stream class that was derived from the SDK's may do anything with the items."""
    stream = await open_chat([WHOLE["chat"]])
    stream.__class__ = type("AsyncStreamOfMine", (type(stream),), {})
    assert not isinstance(await first_item(stream), ServerEvent)
