"""The real SDKs over a mock transport: small event streams written by hand, and a reader of them."""

from __future__ import annotations

import importlib
import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anthropic
import openai

from l0actors.events import EventType, L0Event, fold
from l0actors.providers import close_stream, decoder_for, detect_adapter, enter, items_for
from l0actors.providers.decoder import Decoder, events_of
from l0actors.testing import FaultProvider, Wire

MODEL = "test-model"


def sse(*events: Any, named: bool = False) -> bytes:
    """Return events as server-sent events; bytes are taken as they are."""
    return b"".join(event if isinstance(event, bytes) else _event(event, named) for event in events)


def _event(data: Any, named: bool) -> bytes:
    name = f"event: {data['type']}\n" if named and isinstance(data, dict) and "type" in data else ""
    return f"{name}data: {json.dumps(data)}\n\n".encode()


# Chat completions.

DONE = b"data: [DONE]\n\n"


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **choice: Any) -> dict[str, Any]:
    """Return a chat chunk with one choice."""
    one = {"index": 0, "delta": delta or {}, "finish_reason": finish, **choice}
    return {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": MODEL, "choices": [one]}


def usage_chunk(before: int, after: int, **details: Any) -> dict[str, Any]:
    """Return the chat chunk that carries the usage."""
    usage = {"prompt_tokens": before, "completion_tokens": after, "total_tokens": before + after, **details}
    return {**chunk(), "choices": [], "usage": usage}


def chat(*texts: str, finish: str | None = "stop") -> bytes:
    """Return a whole chat stream."""
    pieces = [chunk({"content": text}) for text in texts]
    end = [chunk(finish=finish)] if finish else []
    return sse(chunk({"role": "assistant", "content": ""}), *pieces, *end, DONE)


def call_delta(
    index: int, arguments: str, call_id: str | None = None, name: str | None = None
) -> dict[str, Any]:
    """Return a chat delta with a fragment of a tool call."""
    function = {"arguments": arguments, **({"name": name} if name else {})}
    one = {"index": index, "function": function}
    return {"tool_calls": [one | ({"id": call_id, "type": "function"} if call_id else {})]}


# Responses.


def numbered(*events: dict[str, Any]) -> list[dict[str, Any]]:
    """Return events with their sequence numbers."""
    return [{"sequence_number": number, **event} for number, event in enumerate(events)]


def created() -> dict[str, Any]:
    """Return the first event of a response."""
    return {"type": "response.created", "response": response("in_progress")}


def response(status: str, **fields: Any) -> dict[str, Any]:
    """Return a response object."""
    return {"id": "r1", "object": "response", "model": MODEL, "status": status, "output": [], **fields}


def text_delta(text: str, **fields: Any) -> dict[str, Any]:
    """Return a piece of a response's text."""
    place = {"item_id": "m1", "output_index": 0, "content_index": 0}
    return {"type": "response.output_text.delta", "delta": text, "logprobs": [], **place, **fields}


def ended(status: str = "completed", **fields: Any) -> dict[str, Any]:
    """Return the last event of a response."""
    return {"type": f"response.{status}", "response": response(status, **fields)}


def message_item(*texts: str) -> list[dict[str, Any]]:
    """Return the events of a text output, with those around it."""
    place = {"item_id": "m1", "output_index": 0, "content_index": 0}
    item = {"id": "m1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    part = {"type": "output_text", "text": "", "annotations": []}
    return [
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.content_part.added", "part": part, **place},
        *(text_delta(text) for text in texts),
    ]


def responses(*texts: str) -> bytes:
    """Return a whole responses stream."""
    part = {"type": "output_text", "text": "".join(texts), "annotations": []}
    item = {"id": "m1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    done = {"type": "response.output_item.done", "output_index": 0, "item": item}
    events = [created(), *message_item(*texts), done, ended(output=[item])]
    return sse(*numbered(*events), named=True)


# Messages.


def message_start(**usage: int) -> dict[str, Any]:
    """Return the first event of a message."""
    counts = usage or {"input_tokens": 5, "output_tokens": 1}
    message = {"id": "m1", "type": "message", "role": "assistant", "model": MODEL, "content": []}
    return {"type": "message_start", "message": {**message, "stop_reason": None, "usage": counts}}


def block(index: int, start: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a content block."""
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def text_block(*texts: str, index: int = 0) -> list[dict[str, Any]]:
    """Return a content block of text."""
    return block(index, {"type": "text", "text": ""}, *({"type": "text_delta", "text": t} for t in texts))


def tool_block(index: int, *fragments: str, call_id: str = "t1", name: str = "get") -> list[dict[str, Any]]:
    """Return a content block with a tool call."""
    start = {"type": "tool_use", "id": call_id, "name": name, "input": {}}
    return block(index, start, *({"type": "input_json_delta", "partial_json": f} for f in fragments))


def message_end(reason: str | None = "end_turn", output_tokens: int = 7) -> list[dict[str, Any]]:
    """Return the last two events of a message."""
    delta = {"stop_reason": reason, "stop_sequence": None}
    usage = {"output_tokens": output_tokens}
    return [{"type": "message_delta", "delta": delta, "usage": usage}, {"type": "message_stop"}]


def messages(*texts: str) -> bytes:
    """Return a whole messages stream."""
    return sse(message_start(), *text_block(*texts), *message_end(), named=True)


# Clients.


def http_of(sdk: Any) -> Any:
    """Return the HTTP library that an SDK is built on: httpx or httpx2."""
    bases = sdk.DefaultAsyncHttpxClient.__mro__
    return importlib.import_module(
        next(b.__module__.split(".")[0] for b in bases if b.__name__ == "AsyncClient")
    )


Body = bytes | Iterable[bytes | type[BaseException]]
"""A body in memory, which is left to the SDK; or what the network brings, piece by piece, and its failure."""


def _answer(http: Any, body: Body, content_type: str, status: int = 200) -> Any:
    async def arriving() -> AsyncIterator[bytes]:
        for piece in body:
            if isinstance(piece, bytes):
                yield piece
            elif isinstance(piece, type):
                raise piece("gone")

    def handle(request: Any) -> Any:
        content = body if isinstance(body, bytes) else arriving()
        return http.Response(status, headers={"content-type": content_type}, content=content)

    return http.MockTransport(handle)


def _client(sdk: Any, kind: str, body: Body, content_type: str) -> Any:
    http = http_of(sdk)
    prefix = "Async" if kind.startswith("Async") else ""
    http_client = getattr(http, f"{prefix}Client")(transport=_answer(http, body, content_type))
    return getattr(sdk, kind)(
        api_key="test", base_url="http://test/v1", max_retries=0, http_client=http_client
    )


def openai_client(body: Body, content_type: str = "text/event-stream") -> openai.AsyncOpenAI:
    """Return a client that gets `body` for every request."""
    client: openai.AsyncOpenAI = _client(openai, "AsyncOpenAI", body, content_type)
    return client


def sync_openai_client(body: bytes) -> openai.OpenAI:
    """Return a synchronous client that gets `body` for every request."""
    client: openai.OpenAI = _client(openai, "OpenAI", body, "text/event-stream")
    return client


def anthropic_client(body: Body, content_type: str = "text/event-stream") -> anthropic.AsyncAnthropic:
    """Return a client that gets `body` for every request."""
    client: anthropic.AsyncAnthropic = _client(anthropic, "AsyncAnthropic", body, content_type)
    return client


def sync_anthropic_client(body: bytes) -> anthropic.Anthropic:
    """Return a synchronous client that gets `body` for every request."""
    client: anthropic.Anthropic = _client(anthropic, "Anthropic", body, "text/event-stream")
    return client


async def open_chat(body: Body, content_type: str = "text/event-stream") -> Any:
    """Return the SDK's stream of a chat completion that gets `body`."""
    client = openai_client(body, content_type)
    return await client.chat.completions.create(model=MODEL, messages=[], stream=True)


async def open_responses(body: Body, content_type: str = "text/event-stream") -> Any:
    """Return the SDK's stream of a response that gets `body`."""
    return await openai_client(body, content_type).responses.create(model=MODEL, input="x", stream=True)


async def open_messages(body: Body, content_type: str = "text/event-stream") -> Any:
    """Return the SDK's stream of a message that gets `body`."""
    client = anthropic_client(body, content_type)
    return await client.messages.create(model=MODEL, messages=[], max_tokens=9, stream=True)


OPEN: dict[Wire, Callable[..., Any]] = {
    "chat": open_chat,
    "responses": open_responses,
    "messages": open_messages,
}
WHOLE: dict[Wire, bytes] = {
    "chat": chat("a", "b"),
    "responses": responses("a", "b"),
    "messages": messages("ab"),
}


@asynccontextmanager
async def real_clients(provider: FaultProvider) -> AsyncIterator[Callable[[Wire], Any]]:
    """Open both SDKs over real sockets; give a function that opens a stream of one format."""
    options: dict[str, Any] = {"api_key": "test", "max_retries": 0, "timeout": 5.0}
    async with (
        openai.AsyncOpenAI(base_url=provider.openai_url, **options) as first,
        anthropic.AsyncAnthropic(base_url=provider.anthropic_url, **options) as second,
    ):

        def opening(wire: Wire) -> Any:
            if wire == "messages":
                return second.messages.create(model=MODEL, messages=[], max_tokens=9, stream=True)
            if wire == "responses":
                return first.responses.create(model=MODEL, input="x", stream=True)
            usage: Any = {"include_usage": True}
            return first.chat.completions.create(model=MODEL, messages=[], stream=True, stream_options=usage)

        yield opening


# Reading.


@dataclass
class Read:
    """What a stream amounted to."""

    adapter: str
    decoder: Decoder
    events: list[L0Event] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The text."""
        return fold(self.events)

    @property
    def tool_calls(self) -> list[dict[str, Any]]:
        """The data of the whole tool calls."""
        return self.data(EventType.TOOL_CALL)

    def data(self, kind: EventType) -> list[dict[str, Any]]:
        """Return the data of the events of one type."""
        return [event.data for event in self.events if event.type is kind and event.data is not None]

    def progress(self, kind: str) -> list[dict[str, Any]]:
        """Return the data of the `PROGRESS` events of one kind."""
        return [data for data in self.data(EventType.PROGRESS) if data["kind"] == kind]


async def read(opened: Any, adapter: Any = None, *, raw: bool = False) -> Read:
    """Read a stream as the runtime does, and close it.

    Args:
        opened: what a source's factory returned.
        adapter: as `L0Options.adapter`.
        raw: as `L0Options.raw_chunks`.

    Raises:
        L0Error: what the decoder raised.
        Exception: what the stream raised before the answer was whole.
    """
    stream = await enter(opened)
    chosen = None
    try:
        chosen = detect_adapter(stream, adapter)
        seen = Read(chosen.name, decoder_for(chosen))
        async for item in _items(items_for(chosen, stream, raw=raw), seen.decoder):
            seen.events += events_of(seen.decoder.feed(item))
        seen.events += seen.decoder.end()
        return seen
    finally:
        await close_stream(chosen, stream)


async def _items(items: AsyncIterator[Any], decoder: Decoder) -> AsyncIterator[Any]:
    while not decoder.done:
        try:
            item = await items.__anext__()
        except StopAsyncIteration:
            return
        except Exception:
            if decoder.finished:
                return
            raise
        yield item


def feed_all(decoder: Decoder, items: Iterable[Any]) -> list[L0Event]:
    """Feed a decoder by hand; return its events, those of the end included."""
    events = [event for item in items for event in events_of(decoder.feed(item))]
    return events + decoder.end()


def pieces(texts: Sequence[str]) -> Iterator[str]:
    """Return an iterator of texts."""
    yield from texts
