"""A stream that breaks after every single byte of its body."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from session_kit import PATIENT, QUICK, Bench, Seen, bench, consume, pieces

from l0actors import Attempt, l0
from l0actors.testing import WIRES, Close, Cut, Reply, Reset, Wire

TEXT = "A b"
OTHER = ("A", " c", " d")
FAULTS = (Cut, Close, Reset)
AT_ONCE = 20
ID = "the-same"  # of one length, so that all answers are

STRIDE: dict[Wire, int] = {"chat": 2, "responses": 5, "messages": 2}
"""The responses format says everything three times; the soak campaign takes every byte of it, too."""


@pytest.fixture(scope="module")
def b() -> Iterator[Bench]:
    """Share one provider and one client of each SDK."""
    with bench() as made:
        yield made


async def size_of(b: Bench, wire: Wire) -> int:
    """Return how many bytes the body of the answer has."""
    stream = await b.source(wire, lambda _: Reply(TEXT, id=ID))()
    async with stream:
        return sum([len(data) async for data in stream.response.aiter_bytes()])


def flaky(b: Bench, wire: Wire, after: int, fault: int) -> Callable[[Attempt], Any]:
    """Return a source that breaks after so many bytes, and is another model's from then on."""
    broken = FAULTS[fault % 3](after_bytes=after)
    source = b.source(wire, lambda _: Reply(TEXT, id=ID, fault=broken))
    return lambda attempt: source() if attempt.number == 1 else pieces(*OTHER)


async def cut_everywhere(b: Bench, wire: Wire, stride: int, faults: int) -> list[Seen]:
    """Run one session for each place and fault."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(after: int, fault: int) -> Seen:
        async with gate:
            source = flaky(b, wire, after, fault)
            return await consume(await l0(stream=source, timeout=PATIENT, retry=QUICK))

    size = await size_of(b, wire)
    places = [*range(0, size, stride), size]
    return await asyncio.gather(*(one(after, after + more) for after in places for more in range(faults)))


def check(sessions: list[Seen]) -> None:
    """Each session has one of the two whole answers: the first one's, if its end had been reported."""
    whole = (TEXT, "".join(OTHER))
    for seen in sessions:
        assert (seen.text, seen.error) == (whole[len(seen.result.attempts) - 1], None)
    assert 2 in {len(seen.result.attempts) for seen in sessions}


@pytest.mark.parametrize("wire", WIRES)
def test_a_cut_at_any_byte(b: Bench, wire: Wire) -> None:
    """Wherever a stream is cut, closed or reset, the text is one of the two whole answers, exactly."""
    sessions = b.run(cut_everywhere(b, wire, STRIDE[wire], faults=1))
    assert len(sessions) > 300
    check(sessions)


@pytest.mark.soak
@pytest.mark.parametrize("wire", WIRES)
def test_every_fault_at_every_byte(b: Bench, wire: Wire) -> None:
    """The same for each of the three ways to break, at every byte of all formats."""
    check(b.run(cut_everywhere(b, wire, 1, faults=3)))
