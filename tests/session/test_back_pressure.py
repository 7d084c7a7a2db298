"""How far a source may run ahead of its consumer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from session_kit import consume, settle
from virtual_time import run

from l0actors import EventType, l0

MANY = 5000


class Source:
    """A source that counts what was asked of it, suspending after every so many pieces (0: never)."""

    def __init__(self, every: int = 0, item: object = "x") -> None:
        self.made = 0
        self._every = every
        self._item = item

    def __call__(self) -> AsyncIterator[object]:
        """Open it."""
        return self._pieces()

    async def _pieces(self) -> AsyncIterator[object]:
        while self.made < MANY:
            self.made += 1
            if self._every and self.made % self._every == 0:
                await asyncio.sleep(0)
            yield self._item


@pytest.mark.parametrize("every", [0, 1, 7])
@pytest.mark.parametrize("buffer", [1, 2, 3, 100, 1500])
def test_a_source_is_at_most_so_far_ahead(buffer: int, every: int) -> None:
    """The source never has made more than `buffer_tokens` pieces that the consumer has not taken."""
    source = Source(every)

    async def scenario() -> int:
        result = await l0(stream=source, buffer_tokens=buffer)
        await settle()
        ahead, taken = [source.made], 0
        async for event in result:
            taken += event.type is EventType.TOKEN
            ahead.append(source.made - taken)
            if taken % 50 == 0:
                await asyncio.sleep(0.001)
                ahead.append(source.made - taken)
        assert taken == MANY
        return max(ahead)

    assert run(scenario()) <= buffer


def test_events_count_like_pieces() -> None:
    """What is no text fills the buffer like text."""
    source = Source(item={"kind": "image", "data": "x"})

    async def scenario() -> None:
        result = await l0(stream=source, buffer_tokens=10)
        await asyncio.sleep(1)
        assert source.made <= 10
        assert len((await consume(result)).of(EventType.DATA)) == MANY

    run(scenario())


def test_final_waits_for_nobody() -> None:
    """In `final` nothing is handed over before the end, so nothing holds the source up."""
    source = Source()

    async def scenario() -> str:
        result = await l0(stream=source, buffer_tokens=1, delivery="final")
        await asyncio.sleep(1)
        assert source.made == MANY
        return await result.text()

    assert run(scenario()) == "x" * MANY


def test_whoever_leaves_does_not_hold_the_source_up() -> None:
    """A source that waits for room is closed when its consumer leaves."""
    source = Source()

    async def scenario() -> None:
        result = await l0(stream=source, buffer_tokens=5)
        await asyncio.sleep(1)
        assert source.made <= 5
        await result.aclose()

    run(scenario())


def test_a_slow_consumer_gets_everything_in_order() -> None:
    """Back-pressure loses nothing and changes no order."""

    async def source() -> AsyncIterator[str]:
        for number in range(200):
            yield f"{number} "

    async def scenario() -> str:
        result = await l0(stream=source, buffer_tokens=3)
        texts: list[str] = []
        async for text in result.texts():
            await asyncio.sleep(1)
            texts.append(text)
        return "".join(texts)

    assert run(scenario()) == "".join(f"{number} " for number in range(200))
