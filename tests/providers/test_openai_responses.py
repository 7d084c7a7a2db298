"""OpenAI's responses, through the real SDK."""

from typing import Any

import pytest
from provider_wires import (
    MODEL,
    created,
    ended,
    message_item,
    numbered,
    open_responses,
    read,
    response,
    responses,
    sse,
    text_delta,
)

from l0actors.errors import ErrorCategory, ErrorCode, L0Error
from l0actors.events import EventType
from l0actors.providers import OpenAIAdapter

CALL = {"id": "fc1", "type": "function_call", "call_id": "c1", "name": "get", "arguments": ""}


def stream(*events: dict[str, Any]) -> bytes:
    """A stream of numbered events, the first of which creates the response."""
    return sse(*numbered(created(), *events), named=True)


def delta(kind: str, text: Any, index: int = 0) -> dict[str, Any]:
    """A delta event of one kind."""
    return {"type": f"response.{kind}.delta", "delta": text, "item_id": "i", "output_index": index}


def call(
    *fragments: str, index: int = 0, status: str = "completed", done: bool = True
) -> list[dict[str, Any]]:
    """The events of a function call."""
    whole = "".join(fragments)
    item = {**CALL, "id": f"fc{index}", "call_id": f"c{index}"}
    end = {"type": "response.function_call_arguments.done", "item_id": "i", "output_index": index}
    return [
        {"type": "response.output_item.added", "output_index": index, "item": item},
        *(delta("function_call_arguments", piece, index) for piece in fragments),
        *([{**end, "name": "get", "arguments": whole}] if done else []),
        {
            "type": "response.output_item.done",
            "output_index": index,
            "item": {**item, "arguments": whole, "status": status},
        },
    ]


async def reads(*events: dict[str, Any]) -> Any:
    """Read a stream of numbered events."""
    return await read(await open_responses(stream(*events)))


async def fails(body: bytes, content_type: str = "text/event-stream") -> L0Error:
    """Read a stream that must fail, and return how."""
    with pytest.raises(L0Error) as failed:
        await read(await open_responses(body, content_type))
    return failed.value


async def test_a_whole_answer() -> None:
    """The text is what was sent, and the end is known with reason, model and usage."""
    usage = {
        "input_tokens": 5,
        "output_tokens": 7,
        "total_tokens": 12,
        "input_tokens_details": {"cached_tokens": 2},
        "output_tokens_details": {"reasoning_tokens": 3},
    }
    seen = await reads(*message_item("Hi", "", " you"), ended(usage=usage))
    assert (seen.adapter, seen.text) == ("openai", "Hi you")
    assert (seen.decoder.finish_reason, seen.decoder.model, seen.decoder.done) == ("stop", MODEL, True)
    assert seen.decoder.usage == {
        "input_tokens": 5,
        "output_tokens": 7,
        "cached_tokens": 2,
        "reasoning_tokens": 3,
    }


async def test_nothing_is_read_after_the_end() -> None:
    """After `response.completed` there is nothing to wait for: what follows is not read."""
    seen = await reads(*message_item("x"), ended(), text_delta("too late"))
    assert seen.text == "x"


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("max_output_tokens", "length"),
        ("content_filter", "content_filter"),
        ("novelty", "novelty"),
        (None, "incomplete"),
    ],
)
async def test_incomplete_is_reported_not_failed(reason: str | None, finish: str) -> None:
    """`response.incomplete` ends the answer with its reason in chat's words."""
    details = {"reason": reason} if reason else None
    seen = await reads(*message_item("x"), ended("incomplete", incomplete_details=details))
    assert (seen.text, seen.decoder.finish_reason, seen.decoder.finished) == ("x", finish, True)


@pytest.mark.parametrize(
    ("code", "expected", "category"),
    [
        ("rate_limit_exceeded", ErrorCode.RATE_LIMITED, ErrorCategory.TRANSIENT),
        ("server_error", ErrorCode.PROVIDER_ERROR, ErrorCategory.TRANSIENT),
        ("bio_policy", ErrorCode.CONTENT_REFUSED, ErrorCategory.REFUSED),
        ("invalid_image_url", ErrorCode.INVALID_REQUEST, ErrorCategory.VALIDATION),
        ("who_knows", ErrorCode.PROVIDER_ERROR, ErrorCategory.MODEL),
    ],
)
async def test_errors_that_come_as_events_are_raised(
    code: str, expected: ErrorCode, category: ErrorCategory
) -> None:
    """`response.failed` and `error`, which the SDK yields as items, are raised by their code."""
    failed = ended("failed", error={"code": code, "message": "no"})
    flat = {"type": "error", "code": code, "message": "no", "param": None}
    for event in (failed, flat):
        for body in (stream(*message_item("x"), event), sse(event, named=True)):
            error = await fails(body)
            assert (error.code, error.category) == (expected, category)
            assert error.provider.error_code == code


async def test_a_failure_without_an_error_is_a_failure() -> None:
    """`response.failed` fails even if it does not say why."""
    error = await fails(stream(ended("failed")))
    assert (error.code, error.category) == (ErrorCode.PROVIDER_ERROR, ErrorCategory.MODEL)


async def test_an_error_is_told_before_its_number_is_checked() -> None:
    """An error event with a wrong sequence number is still that error."""
    body = sse(
        *numbered(created()),
        {"type": "error", "code": "server_error", "message": "no", "sequence_number": 0},
        named=True,
    )
    assert (await fails(body)).category is ErrorCategory.TRANSIENT


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", "text/event-stream"),
        (b"<html>", "text/html"),
        (b'{"error": {}}', "application/json"),
        (b'{"object": "response"}', "application/json"),
        (stream(), "text/event-stream"),
        (stream(*message_item("x")), "text/event-stream"),
        (stream(*message_item("x"), ended())[:-30], "text/event-stream"),
        (stream(*message_item("x"), ended()).rstrip(b"\n"), "text/event-stream"),
        (stream(*message_item("x")) + b"data: [DONE]\n\n", "text/event-stream"),
    ],
)
async def test_a_quiet_end_is_a_failure(body: bytes, content_type: str) -> None:
    """A clean end without `response.completed`, terminator or not, is STREAM_TRUNCATED."""
    error = await fails(body, content_type)
    assert (error.code, error.category) == (ErrorCode.STREAM_TRUNCATED, ErrorCategory.NETWORK)


async def test_a_lost_event_is_noticed() -> None:
    """A gap in the sequence numbers is STREAM_TRUNCATED, although the SDK sees nothing."""
    events = numbered(created(), *message_item("a", "b", "c"), ended())
    del events[4]
    error = await fails(sse(*events, named=True))
    assert error.code is ErrorCode.STREAM_TRUNCATED
    assert "from 4 to 4 are lost" in str(error)


async def test_an_event_that_was_sent_twice_counts_once() -> None:
    """An event that comes once more, right after itself, is dropped instead of doubling the text."""
    events = numbered(created(), *message_item("a", "b"), ended())
    events.insert(4, events[3])
    assert (await read(await open_responses(sse(*events, named=True)))).text == "ab"


async def test_a_number_that_comes_again_is_noticed() -> None:
    """Another event with a number that was seen, as of a second answer, fails the answer."""
    for again in (text_delta("x"), created()):
        events = numbered(created(), *message_item("a", "b"), ended())
        events.insert(4, {**again, "sequence_number": 3})
        assert "event 3 came after event 3" in str(await fails(sse(*events, named=True)))


async def test_swapped_events_are_noticed() -> None:
    """Events out of order fail the answer instead of garbling its text."""
    events = numbered(created(), *message_item("a", "b"), ended())
    events[3], events[4] = events[4], events[3]
    assert (await fails(sse(*events, named=True))).code is ErrorCode.STREAM_TRUNCATED


async def test_unnumbered_events_are_read() -> None:
    """A server that numbers nothing is read; so is one event without a number."""
    body = sse(created(), *message_item("a", "b"), ended(), named=True)
    assert (await read(await open_responses(body))).text == "ab"
    events = numbered(created(), *message_item("a", "b"), ended())
    events.insert(4, {"type": "keepalive"})
    assert (await read(await open_responses(sse(*events, named=True)))).text == "ab"


async def test_a_resumed_stream_begins_where_it_was_cut() -> None:
    """The first number may be any, as in a stream that was asked for with `starting_after`."""
    events = numbered(created(), *message_item("a", "b"), ended())[4:]
    assert (await read(await open_responses(sse(*events, named=True)))).text == "b"


@pytest.mark.parametrize(
    "item",
    [
        None,
        [],
        {},
        3,
        {"type": 3},
        text_delta("x") | {"delta": 42},
        text_delta("x") | {"delta": None},
        {"type": "response.output_text.delta"},
        {"type": "response.completed"},
        {"type": "response.completed", "response": None},
        {"type": "response.output_item.added", "output_index": 0, "item": None},
        {"type": "response.output_item.added", "output_index": 0, "item": {"type": "function_call"}},
        delta("function_call_arguments", "x", 9),
        delta("refusal", 3),
        delta("reasoning_text", None),
        {"type": "response.created", "sequence_number": "x", "response": response("in_progress")},
    ],
)
async def test_a_malformed_event_is_a_failure(item: Any) -> None:
    """Null, lists, missing and wrong-typed fields, which the SDK does not check, are the model's failure."""
    end = {"sequence_number": 4, **ended()}
    for body in (
        sse(item, end, named=True),
        sse(*numbered(created(), *message_item("a")), item, end, named=True),
    ):
        error = await fails(body)
        assert (error.code, error.category) == (ErrorCode.PROVIDER_ERROR, ErrorCategory.MODEL)
        assert str(error).startswith("malformed event: ")


@pytest.mark.parametrize("kind", ["keepalive", "response.queued", "response.novelty.delta", "novelty"])
async def test_unknown_events_are_ignored(kind: str) -> None:
    """An event of an unknown type changes nothing, wherever it comes."""
    for events in (
        [{"type": kind}, created(), *message_item("x")],
        [created(), *message_item("x"), {"type": kind}],
    ):
        body = sse(*numbered(*events, ended()), named=True)
        assert (await read(await open_responses(body))).text == "x"


async def test_reasoning_is_progress() -> None:
    """Reasoning, whole or summarized, is PROGRESS; an encrypted one is passed on, to be sent back."""
    item = {"id": "rs", "type": "reasoning", "summary": [], "encrypted_content": "secret"}
    seen = await reads(
        delta("reasoning_summary_text", "in short"),
        delta("reasoning_text", "at length"),
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        *message_item("x"),
        ended(),
    )
    assert [data["text"] for data in seen.progress("reasoning")] == ["in short", "at length"]
    assert seen.progress("reasoning_item") == [{"kind": "reasoning_item", "item": item}]
    assert seen.text == "x"


async def test_a_refusal_is_progress_and_the_finish_reason() -> None:
    """A refusal is not text, and is what the answer ended with."""
    seen = await reads(delta("refusal", "I "), delta("refusal", "won't"), ended())
    assert "".join(data["text"] for data in seen.progress("refusal")) == "I won't"
    assert (seen.text, seen.decoder.finish_reason) == ("", "refusal")


async def test_logprobs_and_annotations_are_progress() -> None:
    """Logprobs and annotations are passed on as plain data, beside the text."""
    note = {"type": "url_citation", "url": "u", "title": "t", "start_index": 0, "end_index": 1}
    seen = await reads(
        *message_item(),
        text_delta("x", logprobs=[{"token": "x", "logprob": -0.5}]),
        {
            "type": "response.output_text.annotation.added",
            "item_id": "m1",
            "output_index": 0,
            "content_index": 0,
            "annotation_index": 0,
            "annotation": note,
        },
        ended(),
    )
    assert seen.text == "x"
    assert seen.progress("logprobs") == [{"kind": "logprobs", "logprobs": [{"token": "x", "logprob": -0.5}]}]
    assert seen.progress("annotations") == [{"kind": "annotations", "annotations": [note]}]


async def test_other_parts_are_data() -> None:
    """Images and audio come as DATA; whole items that are not text come with the end."""
    image = {"id": "ig", "type": "image_generation_call", "status": "completed", "result": "QUJD"}
    partial = {
        "type": "response.image_generation_call.partial_image",
        "item_id": "ig",
        "output_index": 0,
        "partial_image_b64": "QQ==",
        "partial_image_index": 0,
    }
    seen = await reads(
        partial,
        {"type": "response.output_item.done", "output_index": 0, "item": image},
        delta("audio", "QQ=="),
        delta("audio.transcript", "hi"),
        ended(),
    )
    assert seen.data(EventType.DATA) == [
        {"kind": "partial_image", "data": "QQ==", "id": "ig"},
        {"kind": "audio", "data": "QQ=="},
        {"kind": "audio", "transcript": "hi"},
        {"kind": "image_generation_call", "item": image},
    ]


# Tool calls.


async def test_tool_calls_are_assembled() -> None:
    """Calls come whole, at the end, numbered from 0, with their fragments as progress before."""
    seen = await reads(*message_item("x"), *call('{"q"', ': "x"}', index=1), *call("{}", index=2), ended())
    assert seen.tool_calls == [
        {"id": "c1", "name": "get", "arguments": {"q": "x"}, "index": 0},
        {"id": "c2", "name": "get", "arguments": {}, "index": 1},
    ]
    assert [data["arguments"] for data in seen.progress("tool_call_delta")] == [
        "",
        '{"q"',
        ': "x"}',
        "",
        "{}",
    ]
    assert seen.decoder.finish_reason == "tool_calls"


async def test_a_call_that_only_came_whole_is_taken() -> None:
    """A call without fragments, or without its beginning, is known from its last event."""
    item = {**CALL, "arguments": '{"q": 1}', "status": "completed"}
    seen = await reads({"type": "response.output_item.done", "output_index": 0, "item": item}, ended())
    assert seen.tool_calls == [{"id": "c1", "name": "get", "arguments": {"q": 1}, "index": 0}]
    assert (await reads(*call(), ended())).tool_calls[0]["arguments"] == {}
    assert (await reads(*call("{}", done=False), ended())).tool_calls[0]["arguments"] == {}


async def test_a_call_without_its_end_is_cut_off() -> None:
    """A call whose end event did not come is STREAM_TRUNCATED even if the response completed."""
    error = await fails(stream(*call("{}", done=False)[:-1], ended()))
    assert error.code is ErrorCode.STREAM_TRUNCATED


@pytest.mark.parametrize("done", [True, False])
async def test_a_call_that_hit_the_limit_is_never_a_call(done: bool) -> None:
    """An incomplete response with an unfinished call fails, and is not retried as a network error."""
    events = call('{"q": "x', status="incomplete", done=done)
    error = await fails(
        stream(*events, ended("incomplete", incomplete_details={"reason": "max_output_tokens"}))
    )
    assert (error.code, error.category) == (ErrorCode.STREAM_TRUNCATED, ErrorCategory.MODEL)


async def test_invalid_arguments_are_the_models_failure() -> None:
    """Arguments that are no JSON object, in a completed response, fail it."""
    error = await fails(stream(*call("{'q': 1}"), ended()))
    assert (error.code, error.category) == (ErrorCode.PROVIDER_ERROR, ErrorCategory.MODEL)


async def test_fragments_must_amount_to_the_arguments() -> None:
    """The arguments that the provider repeats at the end must be what it streamed."""
    events = call('{"q": 1}')
    events[2]["arguments"] = '{"q": 2}'
    assert "do not amount" in str(await fails(stream(*events, ended())))


async def test_a_choice_index_is_no_matter() -> None:
    """Responses have one answer: `choice_index` changes nothing."""
    assert (await read(await open_responses(responses("x")), OpenAIAdapter(0))).text == "x"
