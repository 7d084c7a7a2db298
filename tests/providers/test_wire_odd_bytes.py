"""What is made of bytes that are not as they should be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest
from provider_wires import (
    DONE,
    OPEN,
    WHOLE,
    Body,
    call_delta,
    chat,
    chunk,
    http_of,
    open_chat,
    read,
    sse,
    usage_chunk,
)

from l0actors.classify import to_l0_error
from l0actors.errors import ErrorCategory, ErrorCode, L0Error
from l0actors.testing import WIRES, Wire


async def failure_of(opened: Any) -> L0Error:
    """Return how a stream fails."""
    with pytest.raises(L0Error) as failed:
        await read(opened)
    return failed.value


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(
    "odd",
    [
        b"data: junk\n\n",
        b"data: 3\n\n",
        b'data: "text"\n\n',
        b"data: [1]\n\n",
        b'data: {"a": \n\n',
        b'data: {"a": "\xff"}\n\n',
        b"data: " + b"[" * 100_000 + b"\n\n",
        b'data: {"a": 1} {"a": 2}\n\n',
    ],
)
async def test_an_event_that_is_no_json_object_is_malformed(wire: Wire, odd: bytes) -> None:
    """What cannot be read may have been text: the attempt fails, and the message does not repeat the data."""
    for body in ([odd, WHOLE[wire]], [WHOLE[wire][:-200], b"\n\n", odd]):
        error = await failure_of(await OPEN[wire](body))
        assert (error.code, error.category) == (ErrorCode.PROVIDER_ERROR, ErrorCategory.MODEL)
        assert "junk" not in str(error)


@pytest.mark.parametrize("wire", WIRES)
async def test_a_cut_last_event_is_a_truncation(wire: Wire) -> None:
    """A body that ends inside an event was cut off, and is not the model's mistake."""
    error = await failure_of(await OPEN[wire]([WHOLE[wire][: WHOLE[wire].index(b"data:") + 30]]))
    assert (error.code, error.category) == (ErrorCode.STREAM_TRUNCATED, ErrorCategory.NETWORK)


@pytest.mark.parametrize("wire", WIRES)
async def test_junk_after_the_end_is_nothing(wire: Wire) -> None:
    """Once the answer is over, whatever follows is read to the end of the body and ignored."""
    seen = await read(await OPEN[wire]([WHOLE[wire], b"data: junk\n\n\xff\xfe", b"data: {}"]))
    assert seen.text == "ab"


async def test_done_without_a_finish_reason_is_cut_off() -> None:
    """`[DONE]` does not make an answer whole, and nothing is waited for after it."""
    error = await failure_of(await open_chat([sse(chunk({"content": "x"}), DONE)]))
    assert error.code is ErrorCode.STREAM_TRUNCATED


async def test_done_ends_the_waiting_for_the_usage() -> None:
    """After `[DONE]` a chat answer is done, with or without its usage."""
    assert (await read(await open_chat([chat("x")]))).decoder.done


async def test_a_chunk_may_carry_an_error_beside_its_choices() -> None:
    """An error object in a chunk is raised, although the chunk has choices too."""
    error = await failure_of(
        await open_chat([sse(chunk() | {"error": {"code": 429, "message": "slow down"}})])
    )
    assert error.code is ErrorCode.RATE_LIMITED


async def test_an_odd_event_is_judged_as_the_sdks_object_of_it() -> None:
    """A field of another type than usual fails only an event whose content depends on it."""
    odd_usage = usage_chunk(3, 4, prompt_tokens_details=[])
    body = sse(chunk({"content": "x"}) | {"model": 7}, chunk(finish="stop"), odd_usage, DONE)
    seen = await read(await open_chat([body]))
    assert (seen.text, seen.decoder.usage) == ("x", {"input_tokens": 3, "output_tokens": 4})


async def test_a_choice_without_a_delta_says_nothing() -> None:
    """A choice may come without a delta, as Azure's filter results do."""
    body = sse(
        chunk({"content": "x"}), {"choices": [{"index": 0, "finish_reason": None}]}, chunk(finish="stop")
    )
    assert (await read(await open_chat([body]))).text == "x"


async def test_tool_fragments_come_from_the_bytes() -> None:
    """Fragments of tool calls are put together as they are from the SDK's objects."""
    deltas = [call_delta(0, "", "c1", "f"), call_delta(0, '{"a"'), call_delta(0, ": 1}")]
    seen = await read(await open_chat([sse(*map(chunk, deltas), chunk(finish="tool_calls"), DONE)]))
    assert seen.tool_calls == [{"id": "c1", "name": "f", "arguments": {"a": 1}, "index": 0}]


@pytest.mark.parametrize(
    ("body", "code", "category", "said"),
    [
        (b"", ErrorCode.STREAM_TRUNCATED, ErrorCategory.NETWORK, "without a single event"),
        (b"\n <!doctype html><p>502", ErrorCode.STREAM_TRUNCATED, ErrorCategory.NETWORK, "HTML"),
        (b"[1, 2]", ErrorCode.STREAM_TRUNCATED, ErrorCategory.NETWORK, "JSON document"),
        (b'{"cut', ErrorCode.STREAM_TRUNCATED, ErrorCategory.NETWORK, "JSON document"),
        (b'{"choices": []}', ErrorCode.PROVIDER_ERROR, ErrorCategory.MODEL, "a whole answer"),
        (b'{"error": "no"}', ErrorCode.PROVIDER_ERROR, ErrorCategory.MODEL, "no"),
        (b'{"error": {"type": "invalid_request_error"}}', ErrorCode.INVALID_REQUEST, ErrorCategory.MODEL, ""),
        (b'{"error": {"type": "overloaded_error"}}', ErrorCode.PROVIDER_ERROR, ErrorCategory.TRANSIENT, ""),
    ],
)
@pytest.mark.parametrize("wire", WIRES)
async def test_a_document_is_named(
    wire: Wire, body: bytes, code: ErrorCode, category: ErrorCategory, said: str
) -> None:
    """A 200 with something else than an event stream fails as what it is, and as the error in it."""
    for arriving in ([body], [body[i : i + 1] for i in range(len(body))]):
        error = await failure_of(await OPEN[wire](arriving, "text/html"))
        assert (error.code, error.category) == (code, category)
        assert said in str(error)


@pytest.mark.parametrize("wire", WIRES)
async def test_a_long_document_is_not_read_to_its_end(wire: Wire) -> None:
    """What stands in place of an event stream is read as far as it helps."""

    def endless() -> Iterator[bytes]:
        yield b"{"
        while True:
            yield b" " * 10_000

    assert (await failure_of(await OPEN[wire](endless()))).code is ErrorCode.STREAM_TRUNCATED


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("failure", ["ReadError", "ReadTimeout", "RemoteProtocolError", "DecodingError"])
async def test_a_failed_read_keeps_its_class(wire: Wire, failure: str) -> None:
    """What the HTTP library raises reaches the classification as it is."""
    kind = getattr(http_of(anthropic if wire == "messages" else openai), failure)
    body: Body = [WHOLE[wire][:200], kind]
    with pytest.raises(kind) as failed:
        await read(await OPEN[wire](body))
    assert to_l0_error(failed.value).category is ErrorCategory.NETWORK
