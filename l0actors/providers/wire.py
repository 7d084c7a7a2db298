"""Reads the bytes under an SDK's stream: building the SDK's objects costs fifty times as much."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, Protocol

import msgspec

from l0actors.events import L0Event
from l0actors.providers.document import MAX_BYTES, error_of_document, is_document
from l0actors.providers.failures import malformed
from l0actors.providers.opening import iterate
from l0actors.providers.sse import ServerEvent, SSEParser

DONE = "[DONE]"
"""What `read_event` returns for the marker that ends a stream of chat completions."""

_HEARTBEAT = ServerEvent()


class Node(dict[str, Any]):
    """A JSON object that is read like an SDK's: its members are attributes, and a missing one has none."""

    def __getattr__(self, name: str) -> Any:
        try:
            return _node(self[name])
        except KeyError:
            raise AttributeError(f"it has no {name}") from None


def wire_items(package: str, stream: Any) -> AsyncIterator[Any]:
    """Return the server-sent events under a stream of an SDK; its objects, if its bytes are not ours to read.

    Args:
        package: the SDK's name.
        stream: what a source opened.
    """
    response = response_under(package, stream)
    return iterate(stream) if response is None else server_events(response, package)


def response_under(package: str, stream: Any) -> Any | None:
    """Return the HTTP response under an SDK's own stream whose bytes nobody else reads; else None.

    A stream of a subclass, with a decoder of its own, that is instrumented, was started, or whose body is
    in memory already is left to the SDK.
    """
    kind = type(stream)
    if kind.__name__ != "AsyncStream" or not _is_from(package, kind):
        return None
    response: Any = getattr(stream, "response", None)
    if not hasattr(response, "aiter_bytes") or getattr(response, "is_stream_consumed", True):
        return None
    plain = _speaks_sse(package, stream) and not _is_watched(stream)
    return response if plain and not response.is_closed else None


def _speaks_sse(package: str, stream: Any) -> bool:
    """Return whether the SDK takes the body for an event stream: Bedrock's has a framing of its own."""
    decoder = type(getattr(stream, "_decoder", None))
    return decoder.__name__ == "SSEDecoder" and _is_from(package, decoder)


def _is_watched(stream: Any) -> bool:
    """Return whether somebody put an iterator or an observer of their own into the stream, as tracers do."""
    if getattr(stream, "_observer", None) is not None:
        return True
    iterator = vars(stream).get("_iterator")
    own = getattr(getattr(type(stream), "__stream__", None), "__code__", None)
    return iterator is not None and (own is None or getattr(iterator, "ag_code", None) is not own)


def _is_from(package: str, kind: type) -> bool:
    return kind.__module__.partition(".")[0] == package


async def server_events(response: Any, package: str) -> AsyncIterator[ServerEvent]:
    """Yield the events of a response's body, and an empty one for a read that completed none.

    Raises:
        L0Error: the body is a document and no event stream, or an event is over the limit.
    """
    parser, begun = SSEParser(), False
    async with aclosing(response.aiter_bytes()) as chunks:
        async for chunk in chunks:
            if not begun and chunk.strip():
                begun = True
                if is_document(chunk):
                    raise error_of_document(await _rest(chunk, chunks), package)
            events = parser.feed(chunk)
            for event in events:
                yield event
            if not events:
                yield _HEARTBEAT
    for event in parser.flush():
        yield event


async def _rest(body: bytes, chunks: AsyncIterator[bytes]) -> bytes:
    async for chunk in chunks:
        body += chunk
        if len(body) > MAX_BYTES:
            break
    return body


class _Decoder(Protocol):
    finished: bool
    done: bool

    def end(self) -> list[L0Event]: ...


def item_of(decoder: _Decoder, event: ServerEvent, parse: Callable[[bytes | str], Any]) -> Any | None:
    """Return the object that an event holds, as a decoder reads it; None if there is nothing to read.

    Args:
        decoder: what will read it. It is made `done` by the marker that nothing more comes.
        event: what was sent.
        parse: returns the usual events as structs. What it refuses is read as a `Node`, so that the decoder
            judges it as it judges the SDK's object of it.

    Raises:
        L0Error: it is no JSON object; or nothing more comes, and the answer is not whole.
    """
    if decoder.done:
        return None
    data = event.data
    try:
        return parse(data if data.isascii() else data.decode())
    except (msgspec.DecodeError, ValueError, RecursionError):
        item = read_event(event)
    if item is not DONE:
        return item
    if not decoder.finished:
        decoder.end()  # says what is missing
    decoder.done = True
    return None


def read_event(event: ServerEvent) -> Any:
    """Return any event as a `Node` or as `DONE`; None if there is nothing in it.

    Raises:
        L0Error: it is no JSON object. An event that the end of the stream cut is nothing instead.
    """
    data = event.data
    if data.startswith(b"[DONE]"):
        return DONE
    try:
        value = json.loads(data.decode()) if data else None
    except (ValueError, RecursionError) as error:
        if event.cut:
            return None
        raise malformed(f"its data is not JSON ({type(error).__name__})") from error
    if not isinstance(value, dict):
        if value is None or value == []:
            return None
        raise malformed(f"its data is a JSON {type(value).__name__}, not an object")
    if event.name == b"error":
        value.setdefault("type", "error")
    return Node(value) if value else None


def _node(value: Any) -> Any:
    if isinstance(value, dict):
        return Node(value)
    return [_node(each) for each in value] if isinstance(value, list) else value
