"""Anthropic's messages, through the real SDK."""

import inspect
from types import SimpleNamespace
from typing import Any

import pytest
from provider_wires import (
    MODEL,
    anthropic_client,
    block,
    message_end,
    message_start,
    messages,
    open_messages,
    read,
    sse,
    text_block,
    tool_block,
)

from l0actors.errors import ErrorCategory, ErrorCode, L0Error
from l0actors.events import EventType
from l0actors.providers.anthropic import AnthropicDecoder

STOP = {"type": "message_stop"}


def stream(*events: dict[str, Any]) -> bytes:
    """A stream of events after the message's start."""
    return sse(message_start(), *events, named=True)


def delta(text: Any, index: int = 0) -> dict[str, Any]:
    """A piece of text."""
    return {"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": text}}


async def reads(*events: dict[str, Any]) -> Any:
    """Read a stream of events after the message's start."""
    return await read(await open_messages(stream(*events)))


async def fails(body: bytes, content_type: str = "text/event-stream") -> L0Error:
    """Read a stream that must fail, and return how."""
    with pytest.raises(L0Error) as failed:
        await read(await open_messages(body, content_type))
    return failed.value


async def test_a_whole_answer() -> None:
    """The text of all blocks is what was sent, and the end is known with reason, model and usage."""
    seen = await reads(*text_block("Hi", "", " you"), *text_block("!", index=1), *message_end())
    assert (seen.adapter, seen.text) == ("anthropic", "Hi you!")
    assert (seen.decoder.finish_reason, seen.decoder.model, seen.decoder.done) == ("end_turn", MODEL, True)
    assert seen.decoder.usage == {"input_tokens": 5, "output_tokens": 7}


async def test_cached_tokens_are_counted() -> None:
    """What was read from and written to the cache is in the usage."""
    start = message_start(
        input_tokens=5, output_tokens=1, cache_read_input_tokens=3, cache_creation_input_tokens=2
    )
    seen = await read(await open_messages(sse(start, *text_block("x"), *message_end(), named=True)))
    assert seen.decoder.usage == {
        "input_tokens": 5,
        "output_tokens": 7,
        "cached_tokens": 3,
        "cache_creation_tokens": 2,
    }


async def test_the_first_estimate_is_not_the_count() -> None:
    """Without a final count the output is unknown, not the 1 of `message_start`."""
    end = message_end()
    del end[0]["usage"]
    assert (await reads(*text_block("x"), *end)).decoder.usage == {"input_tokens": 5}


@pytest.mark.parametrize(
    "reason", ["end_turn", "max_tokens", "stop_sequence", "pause_turn", "refusal", "novelty"]
)
async def test_stop_reasons_are_reported(reason: str) -> None:
    """The stop reason is passed on in the provider's word; none is a failure by itself."""
    assert (await reads(*text_block("x"), *message_end(reason))).decoder.finish_reason == reason


async def test_finished_comes_before_done() -> None:
    """The answer is whole at the stop reason; a missing `message_stop` is fine."""
    assert (await reads(*text_block("x"), message_end()[0])).decoder.finished


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", "text/event-stream"),
        (b"<html>", "text/html"),
        (b'{"type": "error", "error": {}}', "application/json"),
        (b'{"type": "message", "content": []}', "application/json"),
        (stream(), "text/event-stream"),
        (stream(*text_block("x")), "text/event-stream"),
        (stream(*text_block("x")[:-1]), "text/event-stream"),
        (stream(*text_block("x"), message_end()[0])[:-30], "text/event-stream"),
        (stream(*text_block("x"), message_end()[0]).rstrip(b"\n"), "text/event-stream"),
        (sse(message_start(), *text_block("x"), *message_end()), "text/event-stream"),
    ],
)
async def test_a_quiet_end_is_a_failure(body: bytes, content_type: str) -> None:
    """A clean end without a stop reason, or without any event that has a name, is STREAM_TRUNCATED."""
    error = await fails(body, content_type)
    assert (error.code, error.category) == (ErrorCode.STREAM_TRUNCATED, ErrorCategory.NETWORK)


async def test_message_stop_is_the_end_even_without_a_reason() -> None:
    """The terminator is the provider's word that the answer is whole; why it ended is then not known."""
    for end in ([STOP], message_end(None)):
        seen = await read(await open_messages(stream(*text_block("x"), *end)))
        assert (seen.text, seen.decoder.finished, seen.decoder.finish_reason) == ("x", True, None)


async def test_message_stop_inside_a_block_is_cut_off() -> None:
    """The terminator inside a content block does not make the answer whole."""
    assert (await fails(stream(*text_block("x")[:-1], STOP))).code is ErrorCode.STREAM_TRUNCATED


def test_an_error_event_is_an_error() -> None:
    """An `error` event, where the SDK does not see to it, is raised by its type, even first."""
    error = SimpleNamespace(type="overloaded_error", message="no")
    with pytest.raises(L0Error, match="overloaded_error: no") as failed:
        AnthropicDecoder().feed(SimpleNamespace(type="error", error=error))
    assert failed.value.category is ErrorCategory.TRANSIENT


async def test_a_lost_first_event_is_noticed() -> None:
    """A byte order mark makes the SDK drop `message_start`: what follows is malformed."""
    assert "message_start is lost" in str(await fails(b"\xef\xbb\xbf" + messages("x")))


@pytest.mark.parametrize(
    "events",
    [
        [message_start(), *text_block("x"), *message_end()],
        [delta("x"), *message_end()],
        [*text_block("x"), delta("y"), *message_end()],
        [*text_block("x")[1:], *message_end()],
        [*text_block("x", index=1), *message_end()],
        [*text_block("x"), *text_block("y", index=0), *message_end()],
        [*text_block("x"), *text_block("y", index=2), *message_end()],
        [*text_block("x")[:-1], *text_block("y", index=1), *message_end()],
        [*text_block("x")[:-1], *message_end()],
        [*text_block("x"), {"type": "content_block_stop", "index": 0}, *message_end()],
        [*text_block("x")[:-1], {"type": "content_block_stop", "index": 1}, *message_end()],
        [*text_block("x")[:-1], delta("y", index=1), *message_end()],
        [*text_block("x"), message_end()[0], *text_block("y", index=1), STOP],
    ],
)
async def test_blocks_come_in_order(events: list[dict[str, Any]]) -> None:
    """A block that is not started, not stopped, out of turn or too late is malformed: something is lost."""
    error = await fails(stream(*events))
    assert (error.code, error.category) == (ErrorCode.PROVIDER_ERROR, ErrorCategory.MODEL)
    assert str(error).startswith("malformed event: ")


@pytest.mark.parametrize(
    "item",
    [
        None,
        [],
        {},
        3,
        {"type": 3},
        delta(42),
        delta(None),
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta"}},
        {"type": "content_block_delta", "index": 0, "delta": None},
        {"type": "content_block_delta", "index": 0, "delta": {}},
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "x"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": 3}},
        {"type": "content_block_stop"},
        {"type": "message_delta"},
    ],
)
async def test_a_malformed_event_is_a_failure(item: Any) -> None:
    """Null, lists, missing and wrong-typed fields, which the SDK does not check, are the model's failure."""
    name = item.get("type") if isinstance(item, dict) else "content_block_delta"
    odd = sse(item).replace(b"data:", f"event: {name or 'x'}\ndata:".encode(), 1)
    if isinstance(item, dict) and not isinstance(name, str):
        odd = sse(item).replace(b"data:", b"event: content_block_delta\ndata:", 1)
    first, second, *rest = text_block("a", "b")
    body = sse(message_start(), first, second, named=True) + odd + sse(*rest, *message_end(), named=True)
    error = await fails(body)
    assert (error.code, error.category) == (ErrorCode.PROVIDER_ERROR, ErrorCategory.MODEL)
    assert str(error).startswith("malformed event: ")


async def test_text_belongs_into_a_text_block() -> None:
    """A piece of text in a block of another kind is malformed."""
    start = {"type": "thinking", "thinking": "", "signature": ""}
    assert "in a block of type thinking" in str(
        await fails(stream(*block(0, start, {"type": "text_delta", "text": "x"}), *message_end()))
    )


async def test_thinking_is_progress() -> None:
    """Thinking and its signature are PROGRESS and not text."""
    start = {"type": "thinking", "thinking": "", "signature": ""}
    deltas = [{"type": "thinking_delta", "thinking": "hm"}, {"type": "signature_delta", "signature": "s"}]
    redacted = {"type": "redacted_thinking", "data": "d"}
    seen = await reads(
        *block(0, start, *deltas), *block(1, redacted), *text_block("x", index=2), *message_end()
    )
    assert seen.data(EventType.PROGRESS) == [
        {"kind": "reasoning", "text": "hm"},
        {"kind": "signature", "signature": "s"},
        {"kind": "redacted_reasoning", "data": "d"},
    ]
    assert seen.text == "x"


async def test_citations_are_progress() -> None:
    """A citation is passed on as plain data."""
    citation = {"type": "char_location", "cited_text": "c", "document_index": 0}
    start = {"type": "text", "text": ""}
    deltas: list[dict[str, Any]] = [
        {"type": "text_delta", "text": "x"},
        {"type": "citations_delta", "citation": citation},
    ]
    seen = await reads(*block(0, start, *deltas), *message_end())
    assert seen.progress("annotations") == [{"kind": "annotations", "annotations": [citation]}]


async def test_text_at_the_start_of_a_block_is_text() -> None:
    """A block that starts with text and goes on is read whole."""
    events = block(0, {"type": "text", "text": "a"}, {"type": "text_delta", "text": "b"})
    assert (await reads(*events, *message_end())).text == "ab"


async def test_the_providers_own_tools_are_no_tool_calls() -> None:
    """A tool that the provider runs itself is PROGRESS, its result DATA."""
    start = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}}
    result = {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []}
    seen = await reads(
        *block(0, start, {"type": "input_json_delta", "partial_json": '{"query"'}),
        *block(1, result),
        *message_end(),
    )
    assert seen.tool_calls == []
    assert seen.progress("server_tool_use") == [{"kind": "server_tool_use", "id": "s1", "name": "web_search"}]
    assert seen.progress("server_tool_use_delta")[0]["arguments"] == '{"query"'
    assert seen.data(EventType.DATA) == [{"kind": "web_search_tool_result", "block": result}]


@pytest.mark.parametrize("kind", ["ping", "novelty"])
async def test_unknown_events_are_ignored(kind: str) -> None:
    """Pings and events of an unknown type change nothing, even first."""
    unknown = {"type": kind}
    body = sse(unknown, message_start(), *text_block("x"), unknown, *message_end(), named=True)
    assert (await read(await open_messages(body))).text == "x"


async def test_a_delta_of_an_unknown_type_is_ignored() -> None:
    """A kind of delta that is not known yet changes nothing."""
    deltas: list[dict[str, Any]] = [{"type": "novelty_delta", "n": 1}, {"type": "text_delta", "text": "x"}]
    assert (await reads(*block(0, {"type": "text", "text": ""}, *deltas), *message_end())).text == "x"


# Tool calls.


async def test_tool_calls_are_assembled() -> None:
    """Calls come whole, at the end, numbered from 0, with their fragments as progress before."""
    seen = await reads(
        *text_block("x"),
        *tool_block(1, "", '{"q": ', '"x"}'),
        *tool_block(2, "", call_id="t2", name="now"),
        *message_end("tool_use"),
    )
    assert seen.tool_calls == [
        {"id": "t1", "name": "get", "arguments": {"q": "x"}, "index": 0},
        {"id": "t2", "name": "now", "arguments": {}, "index": 1},
    ]
    fragments = [data["arguments"] for data in seen.progress("tool_call_delta")]
    assert "".join(fragments) == '{"q": "x"}'


async def test_a_cut_tool_call_is_never_a_call() -> None:
    """A stream that ends inside a call, or after it without a stop reason, is STREAM_TRUNCATED."""
    for events in (tool_block(0, '{"q": ')[:-1], tool_block(0, "{}")):
        assert (await fails(stream(*events))).code is ErrorCode.STREAM_TRUNCATED


@pytest.mark.parametrize("fragments", [[], ['{"q": "x']])
async def test_a_call_that_hit_the_limit_is_never_a_call(fragments: list[str]) -> None:
    """`max_tokens` with an unfinished call fails, and is not retried as a network error."""
    error = await fails(stream(*tool_block(0, *fragments), *message_end("max_tokens")))
    assert (error.code, error.category) == (ErrorCode.STREAM_TRUNCATED, ErrorCategory.MODEL)


async def test_invalid_arguments_are_the_models_failure() -> None:
    """Arguments that are no JSON object, in an answer that ended well, fail it."""
    error = await fails(stream(*tool_block(0, "{'q': 1}"), *message_end("tool_use")))
    assert (error.code, error.category) == (ErrorCode.PROVIDER_ERROR, ErrorCategory.MODEL)


async def test_a_parsed_raw_response_is_a_stream_like_any_other() -> None:
    """What `with_raw_response` gives after `parse()`, awaited if it must be, is read as usual."""
    raw = await anthropic_client(messages("Hi")).messages.with_raw_response.create(
        model=MODEL, messages=[], max_tokens=9, stream=True
    )
    parsed: Any = raw.parse()
    assert (await read(await parsed if inspect.isawaitable(parsed) else parsed)).text == "Hi"
