"""What goes over the wire, byte by byte, without an SDK."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l0actors.testing import (
    WIRES,
    Close,
    Cut,
    Duplicate,
    Encoding,
    Fault,
    FaultProvider,
    Reply,
    Send,
    ToolCall,
    Usage,
    Wire,
)
from l0actors.testing.reply import split_words

PATHS = {"chat": "/v1/chat/completions", "responses": "/v1/responses", "messages": "/v1/messages"}


def post(path: str, body: dict[str, Any], *headers: str) -> bytes:
    """Return a whole POST request."""
    raw = json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(raw)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + raw


async def talk(provider: FaultProvider, data: bytes) -> bytes:
    """Send bytes and return everything that comes until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(provider.url.rpartition(":")[2]))
    try:
        writer.write(data)
        return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


def unchunk(body: bytes) -> tuple[bytes, bool]:
    """Return the body that the chunks hold, and whether it was ended."""
    whole = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        count = int(size, 16)
        if count == 0:
            return whole, body == b"\r\n"
        whole, body = whole + body[:count], body[count + 2 :]
    return whole, False


async def stream(reply: Reply, wire: Wire = "chat", **body: Any) -> tuple[bytes, bytes, bool]:
    """Return the head, the body and whether the body was ended."""
    async with FaultProvider(default=reply) as provider:
        request = post(PATHS[wire], {"stream": True, **body}, "Connection: close")
        head, _, rest = (await talk(provider, request)).partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" not in head:
        return head, rest, True
    return head, *unchunk(rest)


def values(body: bytes) -> list[Any]:
    """Return the JSON values of an event stream."""
    lines = [line.removeprefix("data: ") for line in body.decode().split("\n") if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


@given(st.text(max_size=60))
def test_words_join_to_the_text(text: str) -> None:
    """Splitting a text into pieces loses nothing and makes no empty piece."""
    pieces = split_words(text)
    assert "".join(pieces) == text
    assert all(pieces)


@pytest.mark.parametrize("wire", WIRES)
def test_a_cut_at_any_byte(wire: Wire) -> None:
    """A cut after N bytes sends exactly the first N bytes of the healthy body, and ends it."""
    reply = Reply("größe 🙂 three", reasoning="hm", tool_calls=[ToolCall("c", "f", '{"a": 1}')])
    whole = asyncio.run(stream(reply, wire))[1]

    @given(st.integers(0, len(whole) + 3), st.sampled_from([Cut, Close]), st.sampled_from([None, 1, 7]))
    @settings(max_examples=60, deadline=None)
    def check(count: int, kind: type[Fault], piece_bytes: int | None) -> None:
        cut = replace(reply, fault=kind(after_bytes=count), encoding=Encoding(piece_bytes=piece_bytes))
        _, body, ended = asyncio.run(stream(cut, wire))
        assert (body, ended) == (whole[:count], kind is Cut)

    check()


@given(st.lists(st.text(max_size=8), max_size=6))
@settings(max_examples=40, deadline=None)
@pytest.mark.parametrize("wire", WIRES)
def test_any_pieces_arrive(wire: Wire, pieces: list[str]) -> None:
    """Any pieces of any text arrive one event each, exactly."""
    _, body, _ = asyncio.run(stream(Reply(pieces), wire))
    assert list(texts(wire, values(body))) == pieces


def texts(wire: Wire, events: Iterable[dict[str, Any]]) -> Iterable[str]:
    """Yield the text of each delta."""
    for event in events:
        if wire == "chat" and event["choices"]:
            delta = event["choices"][0]["delta"]
            if "content" in delta and "role" not in delta:
                yield delta["content"]
        elif event.get("type") == "response.output_text.delta":
            yield event["delta"]
        elif event.get("type") == "content_block_delta":
            yield event["delta"]["text"]


class TestFormats:
    async def test_chat(self) -> None:
        """A chat stream has a role chunk, its tokens, a finish chunk, usage if asked for, and [DONE]."""
        _, body, _ = await stream(Reply("Hi you", usage=Usage(1, 2)), stream_options={"include_usage": True})
        assert body.endswith(b"\n\ndata: [DONE]\n\n")
        role, hi, _, finish, usage = values(body)
        assert role["choices"][0]["delta"]["role"] == "assistant"
        assert hi["choices"][0] == {
            "index": 0,
            "delta": {"content": "Hi"},
            "logprobs": None,
            "finish_reason": None,
        }
        assert finish["choices"][0]["finish_reason"] == "stop"
        assert (usage["choices"], usage["usage"]["total_tokens"]) == ([], 3)
        assert {event["id"] for event in values(body)} == {"chatcmpl-1"}

    async def test_responses(self) -> None:
        """A responses stream opens and closes its item and part around the deltas, numbered from 0."""
        _, body, _ = await stream(Reply("Hi"), "responses")
        assert [event["type"].removeprefix("response.") for event in values(body)] == [
            "created",
            "in_progress",
            "output_item.added",
            "content_part.added",
            "output_text.delta",
            "output_text.done",
            "content_part.done",
            "output_item.done",
            "completed",
        ]
        assert [event["sequence_number"] for event in values(body)] == list(range(9))
        assert body.startswith(b"event: response.created\ndata: {")

    async def test_messages(self) -> None:
        """A messages stream opens and closes its block around the deltas, and reports its stop reason."""
        _, body, _ = await stream(Reply("Hi"), "messages")
        assert [event["type"] for event in values(body)] == [
            "message_start",
            "ping",
            "content_block_start",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop",
        ]
        assert body.startswith(b"event: message_start\ndata: {")
        assert values(body)[5]["delta"]["stop_reason"] == "end_turn"

    @pytest.mark.parametrize("wire", WIRES)
    async def test_head(self, wire: Wire) -> None:
        """A stream is announced as one, with the provider's request id header."""
        head, _, _ = await stream(Reply("Hi"), wire)
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"content-type: text/event-stream" in head
        assert (b"\r\nrequest-id: req_1" if wire == "messages" else b"\r\nx-request-id: req_1") in head


class TestEncoding:
    async def test_newlines_and_mark(self) -> None:
        """Line endings and the byte order mark change nothing else."""
        _, plain, _ = await stream(Reply("Hi you"), "messages")
        _, body, _ = await stream(Reply("Hi you", encoding=Encoding(newline="\r\n", bom=True)), "messages")
        assert body == b"\xef\xbb\xbf" + plain.replace(b"\n", b"\r\n")

    async def test_gzip(self) -> None:
        """A gzip body unpacks to the plain one; one that is cut lacks its trailer."""
        _, plain, _ = await stream(Reply("Hi you"))
        head, body, _ = await stream(Reply("Hi you", encoding=Encoding(gzip=True)))
        assert b"content-encoding: gzip" in head
        assert gzip.decompress(body) == plain
        _, cut, ended = await stream(Reply("Hi", encoding=Encoding(gzip=True), fault=Cut(after_tokens=1)))
        assert ended
        with pytest.raises(EOFError):
            gzip.decompress(cut)

    async def test_without_chunks(self) -> None:
        """A body without chunks is announced by `connection: close` and is the plain one."""
        _, plain, _ = await stream(Reply("Hi you"))
        head, body, _ = await stream(Reply("Hi you", encoding=Encoding(chunked=False)))
        assert b"connection: close" in head
        assert body == plain

    async def test_omissions(self) -> None:
        """What is omitted is missing, by name or by the number of a token, and nothing else."""
        omit = {"finish", "terminator", "blank_line", 2}
        _, body, _ = await stream(Reply("one two three", omit=omit))  # type: ignore[arg-type]
        assert list(texts("chat", values(body))) == ["one", " three"]
        assert not body.endswith(b"\n\n")

    async def test_duplicates_and_extras(self) -> None:
        """A duplicate repeats the event before it; sent bytes go out as they are."""
        reply = Reply("one two", fault=(Duplicate(after_tokens=1), Send(b": hi\n\n", after_tokens=1)))
        _, body, _ = await stream(reply)
        assert list(texts("chat", values(body))) == ["one", "one", " two"]
        assert b"\n\n: hi\n\ndata:" in body


class TestRequests:
    @pytest.fixture
    def close(self) -> str:
        return "Connection: close"

    @pytest.mark.parametrize(
        ("data", "status"),
        [
            (b"nonsense\r\n\r\n", 400),
            (b"GET / HTTP/2\r\n\r\n", 400),
            (b"GET //[ HTTP/1.1\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nname : x\r\n\r\n", 400),
            (b"POST /v1/messages HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
            (b"POST /v1/messages HTTP/1.1\r\nContent-Length: \xb2\r\n\r\n", 400),
            (b"POST /v1/messages HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", 413),
            (b"POST /v1/messages HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
            (b"POST /v1/messages HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
            (b"POST /v1/messages HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabcd\r\n", 400),
            (b"POST /v1/messages HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n", 413),
            (b"GET / HTTP/1.1\r\nx: " + b"y" * 70_000 + b"\r\n\r\n", 431),
            (b"GET /unknown HTTP/1.1\r\nConnection: close\r\n\r\n", 404),
            (b"GET /v1/messages HTTP/1.1\r\nConnection: close\r\n\r\n", 404),
            (b"DELETE /v1/responses/x HTTP/1.1\r\nConnection: close\r\n\r\n", 404),
        ],
    )
    async def test_bad_requests(self, data: bytes, status: int) -> None:
        """A malformed or unknown request gets a JSON error and harms nothing."""
        async with FaultProvider() as provider:
            answer = await talk(provider, data)
            assert answer.startswith(b"HTTP/1.1 %d " % status)
            assert "error" in json.loads(answer.partition(b"\r\n\r\n")[2])
            await provider.all_closed()

    async def test_bodies_of_any_shape(self, close: str) -> None:
        """A chunked body is read like one with a length, and one that is no JSON object is empty."""
        async with FaultProvider() as provider:
            chunks = b"7;x=y\r\n" + b'{"model' + b'\r\n6\r\n":"m1"\r\n1\r\n}\r\n0\r\nx: y\r\n\r\n'
            head = f"POST /v1/messages HTTP/1.1\r\nTransfer-Encoding: chunked\r\n{close}\r\n\r\n".encode()
            await talk(provider, head + chunks)
            for body in (b"[1]", b"\xff", b"[" * 20_000):
                length = f"Content-Length: {len(body)}\r\n{close}\r\n\r\n".encode()
                await talk(provider, b"POST /v1/messages HTTP/1.1\r\n" + length + body)
            assert [dict(request.body) for request in provider.requests] == [{"model": "m1"}, {}, {}, {}]

    async def test_keep_alive(self, close: str) -> None:
        """Requests that come at once on one connection are answered one after the other."""
        async with FaultProvider() as provider:
            one = post(PATHS["chat"], {"model": "first"})
            two = post(PATHS["messages"], {"model": "second"}, close)
            answer = await talk(provider, one + two)
            assert answer.count(b"HTTP/1.1 200 OK") == 2
            assert [request.model for request in provider.requests] == ["first", "second"]
            assert provider.total_connections == 1

    async def test_half_a_request(self) -> None:
        """A client that leaves in the middle of its request is forgotten."""
        async with FaultProvider() as provider:
            _, writer = await asyncio.open_connection("127.0.0.1", int(provider.url.rpartition(":")[2]))
            writer.write(b"POST /v1/messages HTTP/1.1\r\nContent-Length: 10\r\n\r\n{")
            await writer.drain()
            writer.close()
            await writer.wait_closed()
            await provider.all_closed()
            assert provider.total_requests == 0
