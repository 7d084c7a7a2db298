"""The parser of server-sent events."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l0actors.errors import ErrorCategory, ErrorCode, L0Error
from l0actors.providers.sse import ServerEvent, SSEParser

Event = tuple[bytes, bytes, bool]

LINES = st.sampled_from(
    [
        b"",
        b"",
        b"data: one",
        b"data:two",
        b"data:  padded",
        b"data",
        b"data:",
        "data: д👍".encode(),
        b"event: delta",
        b"event:",
        b"id: 7",
        b"retry: 10",
        b": a comment",
        b":",
        b"unknown: x",
        b" data: no field",
        b"junk",
    ]
)
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
BODIES = st.builds(
    lambda mark, lines, last: mark + b"".join(itertools.chain(*lines)) + last,
    st.sampled_from([b"", b"", b"\xef\xbb\xbf", b"\xef\xbb"]),
    st.lists(st.tuples(LINES, ENDS), max_size=20),
    st.sampled_from([b"", b"data: cut", b"dat", b"\r"]),
)


def told(events: list[ServerEvent]) -> list[Event]:
    """Return events as tuples."""
    return [(event.name, event.data, event.cut) for event in events]


def parse(*chunks: bytes, limit: int = 1000) -> list[Event]:
    """Return the events of a body that comes in these chunks."""
    parser = SSEParser(limit)
    events = [event for chunk in chunks for event in parser.feed(chunk)]
    return told(events + parser.flush())


def reference(body: bytes) -> list[Event]:
    """Parse as the standard says, one line of the whole body after the other."""
    text = body.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    *lines, unended = text.split(b"\n")
    events: list[Event] = []
    block: list[bytes] = []
    for line in lines:
        if line:
            block.append(line)
        elif block:
            events.append((*_event(block), False))
            block = []
    block += [unended] if unended else []
    return [*events, (*_event(block), True)] if block else events


def _event(block: list[bytes]) -> tuple[bytes, bytes]:
    fields = [(line.partition(b":")[0], line.partition(b":")[2].removeprefix(b" ")) for line in block]
    name = [value for field, value in fields if field == b"event"]
    data = [value for field, value in fields if field == b"data"]
    return (name[-1] if name else b"", b"\n".join(data))


def cut(body: bytes, places: list[int]) -> list[bytes]:
    """Return a body cut at these places."""
    edges = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]
    return [body[begin:end] for begin, end in itertools.pairwise(edges)]


@given(BODIES)
def test_a_body_means_what_the_standard_says(body: bytes) -> None:
    """The events of a body in one piece are those of a plain reading of the standard."""
    assert parse(body) == reference(body)


@given(BODIES, st.lists(st.integers(0, 10_000), max_size=30))
def test_no_split_changes_the_events(body: bytes, places: list[int]) -> None:
    """Wherever the network cuts a body, its events are those of the whole."""
    assert parse(*cut(body, places)) == parse(body)


@given(BODIES)
def test_single_bytes_are_enough(body: bytes) -> None:
    """A body that comes byte by byte has the same events."""
    assert parse(*(body[i : i + 1] for i in range(len(body)))) == parse(body)


@given(BODIES, st.lists(st.integers(0, 10_000), max_size=10), st.integers(5, 20))
def test_no_split_changes_what_is_too_long(body: bytes, places: list[int], limit: int) -> None:
    """An event over the limit fails the stream after the same events, wherever the network cut it."""
    assert until_failure(cut(body, places), limit) == until_failure([body], limit)


def until_failure(chunks: list[bytes], limit: int) -> tuple[list[Event], bool]:
    """Return the events before the failure, and whether there was one."""
    parser, events = SSEParser(limit), []
    try:
        for chunk in chunks:
            events += parser.feed(chunk)
        events += parser.flush()
    except L0Error:
        return told(events), True
    return told(events), False


def test_an_event_is_given_as_soon_as_it_is_whole() -> None:
    """The blank line, and not the next event, completes an event; a CR needs no look at what follows."""
    for end in (b"\n\n", b"\r\n\r\n", b"\r\r"):
        parser = SSEParser()
        assert parser.feed(b"data: x") == []
        assert told(parser.feed(end)) == [(b"", b"x", False)]
        assert parser.feed(b"\n") == []
        assert parser.flush() == []


def test_several_data_lines_are_one_event() -> None:
    """The lines of `data` are joined by line feeds, and what is around them is left out."""
    body = b'event: a\nid: 1\n: hm\ndata: {"x":\ndata:  1}\nretry: 5\n\n'
    assert parse(body) == [(b"a", b'{"x":\n 1}', False)]


def test_what_has_no_data_is_an_empty_event() -> None:
    """Comments and bare fields are kept, so that a reader knows that the provider is alive."""
    assert parse(b": ping\n\n", b"event: ping\n\n", b"\n\n\n") == [(b"", b"", False), (b"ping", b"", False)]


def test_the_last_event_may_lack_its_blank_line() -> None:
    """What is left at the end is an event that says of itself that it may be cut."""
    assert parse(b"data: a\n\ndata: b\n") == [(b"", b"a", False), (b"", b"b", True)]


def test_a_byte_order_mark_counts_only_first() -> None:
    """A mark that begins the body is dropped, and one that comes later is part of its line."""
    mark = b"\xef\xbb\xbf"
    assert parse(mark + b"data: a\n\n" + mark + b"data: b\n\n") == [(b"", b"a", False), (b"", b"", False)]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_an_event_has_a_limit(size: int) -> None:
    """An event over the limit is malformed, and is not kept in memory until it is over."""
    parser = SSEParser(limit=100)
    with pytest.raises(L0Error, match="more than 100 bytes") as failed:
        feed_for_ever(parser, b"x" * size)
    assert (failed.value.code, failed.value.category) == (ErrorCode.PROVIDER_ERROR, ErrorCategory.MODEL)


def feed_for_ever(parser: SSEParser, piece: bytes) -> None:
    """Feed a parser with the same piece until it raises."""
    while True:
        assert parser.feed(piece) == []


def test_what_came_before_an_overlong_event_is_given() -> None:
    """The events before one over the limit are returned first, and then it fails."""
    parser = SSEParser(limit=20)
    assert told(parser.feed(b"data: a\n\ndata: " + b"x" * 20 + b"\n\ndata: b\n\n")) == [(b"", b"a", False)]
    with pytest.raises(L0Error):
        parser.feed(b"data: c\n\n")


def test_a_long_event_in_small_pieces_takes_linear_time() -> None:
    """A piece costs what it is long, and not what came before it."""
    parser = SSEParser()
    parser.feed(b"data: ")
    for _ in range(200_000):
        parser.feed(b"x" * 16)
    assert len(parser.feed(b"\n\n")[0].data) == 3_200_000
